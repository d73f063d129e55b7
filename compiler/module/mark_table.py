"""What each mark stands on and says, who writes and reads it, and how long it lives; `docs/marks.md` shows the table.

The last pass that reads a mark takes it away, and the verifier of each phase refuses marks that should be gone by then,
and `atoll.*` names that are no marks (`marking.check_marks`).
"""

from dataclasses import dataclass

from atoll.compiler.module import marks

# As `pipeline.pipeline` names them; written again here, as this folder may not import that one.
PHASE_NAMES = ("stablehlo", "timed", "staged", "placed", "scheduled")


@dataclass(frozen=True)
class Mark:
    """One kind of mark.

    on: what it stands on.
    says: what it says there.
    since: it is first written on the way to this phase, though people may write it sooner. None if no phase does: it
        stands in a file that reproduces a defect, or where the planner asks for it.
    gone: it is taken away on the way to this phase; None if it lives as long as the module.
    writers: the passes and files that write or change it.
    readers: those that use it in any other way: read it, move it along or take it away.
    """

    name: str
    on: str
    says: str
    since: str | None
    gone: str | None
    writers: tuple[str, ...]
    readers: tuple[str, ...]

    def may_stand(self, phase: str) -> bool:
        """Whether the phase's verifier accepts it."""
        return self.gone is None or PHASE_NAMES.index(phase) < PHASE_NAMES.index(self.gone)

    @property
    def life(self) -> str:
        """From which phase to which it lives, in words."""
        if self.since is None:
            return "on no way to a phase"
        if self.gone is None:
            return f"from `{self.since}` on"
        if self.gone == self.since:
            return f"on the way to `{self.since}`"
        return f"from `{self.since}` until on the way to `{self.gone}`"


def rows_of_marks() -> list[str]:
    """The rows of the table in the documents."""
    return [
        f"| `{one.name}` | {one.on} | {one.says} | {one.life} | {', '.join(one.writers)} | {', '.join(one.readers)} |"
        for one in MARKS
    ]


MARKS = (
    Mark(
        marks.TOPOLOGY,
        on="the module",
        says="the islands and links, as text",
        since="stablehlo",
        gone=None,
        writers=("pipeline/resume",),
        readers=(
            "commands/dump",
            "fold-batch",
            "module/planned",
            "stage/measured/stage_homes",
            "time/folding/device_parts",
        ),
    ),
    Mark(
        marks.PLAN,
        on="the module",
        says="the plan, as text",
        since="stablehlo",
        gone=None,
        writers=("module/planned", "pipeline/resume"),
        readers=("module/planned", "pipeline/resume", "verify-timed"),
    ),
    Mark(
        marks.PHASE,
        on="the module",
        says="the phase that its verifier vouched for",
        since="stablehlo",
        gone=None,
        writers=("verify-placed", "verify-scheduled", "verify-stablehlo", "verify-staged", "verify-timed"),
        readers=("pipeline/resume",),
    ),
    Mark(
        marks.PATH,
        on="an argument or a result of `@main`",
        says="its pytree path, in the user's words: `state['params']['w']`, `result[0]`",
        since="stablehlo",
        gone=None,
        writers=("export/frontend", "mark-arguments"),
        readers=(
            "emit/memories",
            "fold-batch",
            "mark-arguments",
            "module/homes",
            "module/interface",
            "report/report",
            "seed-stages",
            "stage/shares/update",
            "verify-stablehlo",
            "view/crossings",
        ),
    ),
    Mark(
        marks.BATCH,
        on="an argument of `@main`",
        says="it has the batch, along dimension 0 or the one that it says",
        since="stablehlo",
        gone=None,
        writers=("export/frontend", "mark-arguments"),
        readers=(
            "module/interface",
            "split-layer-loops",
            "stage/cut/alignment",
            "stage/layers/choice",
            "time/folding/rewrite",
            "time/roles/dataflow_roles",
            "verify-timed",
        ),
    ),
    Mark(
        marks.DONATED,
        on="an argument of `@main`",
        says="the caller gives its buffers away",
        since="stablehlo",
        gone=None,
        writers=("export/frontend", "mark-arguments"),
        readers=("emit/emit", "module/homes"),
    ),
    Mark(
        marks.ON_HOST,
        on="an argument or a result of `@main`",
        says="it is in the memory of the host, beside that of the devices",
        since="stablehlo",
        gone=None,
        writers=("module/marking",),
        readers=("emit/memories",),
    ),
    Mark(
        marks.ALONE,
        on="the module",
        says="for how many microbatches it does some scopes alone, as its plan has `per_microbatch`, and what to tell",
        since="stablehlo",
        gone=None,
        writers=("export/alone/job",),
        readers=("resolve-plan",),
    ),
    Mark(
        marks.ALONE_CUT,
        on="an operation",
        says="it cuts out the examples that such a scope sees of each microbatch",
        since="stablehlo",
        gone="timed",
        writers=("export/alone/job",),
        readers=("time/folding/alone_cuts",),
    ),
    Mark(
        marks.FILLED,
        on="the module",
        says="the parts of the plan that whoever wrote it left open, with what they were decided to be",
        since="timed",
        gone=None,
        writers=("module/planned",),
        readers=("module/planned", "pipeline/resume"),
    ),
    Mark(
        marks.PARTS,
        on="an argument or a result of `@main`; a loop over microbatches",
        says="it stands for as many values of its type, one for each microbatch; which results of the loop do",
        since="timed",
        gone=None,
        writers=("stage/layers/split", "time/folding/rewrite"),
        readers=(
            "emit/emit",
            "emit/loop_body",
            "make-fragments",
            "module/graph",
            "module/interface",
            "stage/shares/update",
            "verify-timed",
        ),
    ),
    Mark(
        marks.PARTS_DIMENSION,
        on="a result of `@main` with parts",
        says="the dimension along which they are the whole; 0 if it is not said",
        since="timed",
        gone=None,
        writers=("time/folding/rewrite",),
        readers=("module/interface", "verify-timed"),
    ),
    Mark(
        marks.PIECE,
        on="one of several arguments, or results, of `@main` that are one to the user",
        says="the dimension along which they are the whole, where it starts, and how long the whole is",
        since="timed",
        gone=None,
        writers=("stage/layers/split", "time/folding/pieces"),
        readers=("module/interface", "stage/shares/update"),
    ),
    Mark(
        marks.NOTES,
        on="the module",
        says="what passes tell people (`notes`): a kind, values, and the user's line",
        since="timed",
        gone=None,
        writers=("module/noting",),
        readers=("module/noting",),
    ),
    Mark(
        marks.BRANCHES,
        on="the pieces of a `case`",
        says="its number, so that those that come to one fragment can be joined again",
        since="staged",
        gone="staged",
        writers=("split-branches",),
        readers=("join-branches",),
    ),
    Mark(
        marks.STAGES,
        on="the module",
        says="how many stages there are",
        since="staged",
        gone=None,
        writers=("cut-segments", "seed-stages"),
        readers=("module/planned", "order-tasks"),
    ),
    Mark(
        marks.STAGE,
        on="an operation; a fragment",
        says="its stage; where stages run in segments, the segment",
        since="staged",
        gone="scheduled",
        writers=(
            "copy-cheap-operations",
            "join-sums",
            "keep-narrow",
            "make-again",
            "make-fragments",
            "seed-stages",
            "spread-stages",
            "stage/layers/split",
            "stage/layers/steps",
        ),
        readers=(
            "copy-cheap-operations",
            "cut-segments",
            "join-branches",
            "join-sums",
            "keep-less",
            "keep-narrow",
            "make-again",
            "make-fragments",
            "module/check_names",
            "order-sweeps",
            "place/fragments/partition",
            "split-backward",
            "spread-stages",
            "stage/layers/split",
            "stage/layers/steps",
            "verify-placed",
            "verify-staged",
        ),
    ),
    Mark(
        marks.LAYERS,
        on="a loop over layers",
        says="the stage of each of them",
        since="staged",
        gone="staged",
        writers=("seed-stages", "stage/layers/steps"),
        readers=(
            "cut-segments",
            "split-layer-loops",
            "stage/layers/layer_stages",
            "stage/layers/split",
            "stage/layers/steps",
        ),
    ),
    Mark(
        marks.PLANNED_STAGE,
        on="an operation",
        says="its stage of the plan, where that runs in segments and which of them is still open",
        since="staged",
        gone="staged",
        writers=("cut-segments",),
        readers=("spread-stages",),
    ),
    Mark(
        marks.EXCHANGE,
        on="what stands for an exchange between replicas: a call, later a transfer or a cast",
        says="how they combine what each has",
        since="staged",
        gone=None,
        writers=("make-fragments", "stage/operations/exchanges"),
        readers=(
            "emit/emit",
            "make-fragments",
            "module/graph",
            "module/tasks",
            "place/fragments/partition",
            "replicas/check_exchanges",
            "replicas/own_sums",
            "spread-stages",
            "stage/operations/exchanges",
        ),
    ),
    Mark(
        marks.SHARE,
        on="an exchange that makes or joins shares; an argument or a result of which a replica has its share",
        says="the dimension along which shares are the whole",
        since="staged",
        gone=None,
        writers=("stage/operations/exchanges", "stage/shares/share_code"),
        readers=("make-fragments", "module/interface", "module/tasks", "replicas/check_exchanges", "share-update"),
    ),
    Mark(
        marks.SWEEP,
        on="an operation; a fragment",
        says="the sweep in which its stage computes it",
        since="staged",
        gone="scheduled",
        writers=(
            "copy-cheap-operations",
            "keep-less",
            "keep-narrow",
            "make-again",
            "make-fragments",
            "order-sweeps",
            "split-backward",
        ),
        readers=(
            "copy-cheap-operations",
            "join-branches",
            "keep-less",
            "keep-narrow",
            "make-again",
            "make-fragments",
            "place/fragments/partition",
            "split-backward",
            "verify-placed",
            "verify-staged",
        ),
    ),
    Mark(
        marks.ROLE,
        on="a loop over microbatches",
        says="what it goes over the stages for, a letter for each sweep: `F`, `FB`, `FBW`",
        since="staged",
        gone=None,
        writers=("module/loop_roles",),
        readers=("make-fragments", "module/check_names", "module/loop_roles", "verify-staged"),
    ),
    Mark(
        marks.INDEX,
        on="a constant",
        says="it stands for the number of the microbatch while shardings are propagated",
        since="placed",
        gone="placed",
        writers=("hide-microbatch-index",),
        readers=("show-microbatch-index",),
    ),
    Mark(
        marks.SCHEDULE,
        on="a loop over microbatches",
        says="the name of the schedule that its order comes from",
        since="scheduled",
        gone=None,
        writers=("module/loop_schedule",),
        readers=("module/loop_schedule",),
    ),
    Mark(
        marks.ORDER,
        on="a loop over microbatches",
        says="for each island its tasks in order",
        since="scheduled",
        gone=None,
        writers=("module/task_order",),
        readers=("module/task_order", "verify-scheduled"),
    ),
    Mark(
        marks.PASSES_LEFT,
        on="the module",
        says="in a file that reproduces a defect: the passes to run on it, as text",
        since=None,
        gone=None,
        writers=("pipeline/reproducer",),
        readers=("pipeline/reproducer",),
    ),
    Mark(
        marks.LAYER_COSTS,
        on="the module",
        says="what each layer costs on islands of each kind (`layer_costs`), as JSON",
        since=None,
        gone=None,
        writers=("cost/layer_costs",),
        readers=("cost/layer_costs",),
    ),
)
