"""The one ordered pipeline: which passes lead to which phase, and why each stands where it stands."""

from dataclasses import dataclass

from atoll.compiler.errors import UsageError
from atoll.compiler.text.language import known_names, shown


@dataclass(frozen=True)
class Phase:
    """A state of the IR that a verifier vouches for.

    name: what is true once it is reached, as in `atoll dump --phase stablehlo`.
    made_by: the folder under `passes/` that leads to it; in a pass pipeline it stands for all of `passes`.
    """

    name: str
    made_by: str
    passes: tuple[str, ...]
    needs_topology: bool = True


PHASES = (
    Phase(
        name="stablehlo",
        made_by="normalize",
        needs_topology=False,
        passes=(
            # A composite names a function as a call does; made a call, it is inlined like one.
            "stablehlo-legalize-composite-to-call",
            # Next, so that every later pass sees one function and whole name stacks.
            "inline-calls",
            # What it removes stands in callees as well; in @main it is met once.
            "drop-empty-shardings",
            # A callee computes what only some of its callers use. Not `canonicalize` or `cse`: they share values,
            # and what two stages share would have to be sent from one to the other.
            "trivial-dce",
            # The callees are gone from every call, so their bodies keep nothing alive.
            "symbol-dce",
            # After all of the above, since each of them takes uses away.
            "drop-dead-arguments",
            # Last in its phase: later passes rely on what it checks.
            "verify-stablehlo",
        ),
    ),
    Phase(
        name="timed",
        made_by="time",
        needs_topology=False,
        passes=(
            # First of all that asks the plan anything: from here on it has an answer.
            "resolve-plan",
            # Before stages are chosen: a stage is a part of what is done with one microbatch.
            "fold-batch",
            "verify-timed",
        ),
    ),
    Phase(
        name="staged",
        made_by="stage",
        passes=(
            # First, as a stack of what all stages have belongs to none of them; in branches it is easier to see whole.
            "chain-scalars",
            # What a loop carries and nobody needs would be sent to its stage.
            "drop-dead-carries",
            # A choice over all parameters has no one stage, its pieces have.
            "split-branches",
            # What the user says comes before all that is arranged around it.
            "seed-stages",
            # Only where the user names no scopes.
            "cut-automatically",
            # Once every stage is known, and before loops are split, as they may have to be at more places.
            "cut-segments",
            # As soon as the stage of each layer is known, so that from here on no operation is on several.
            "split-layer-loops",
            # Behind layers, so that a share is of what one stage has; before the rest is spread, as it adds to it.
            "share-update",
            # Once the forward part is fixed, the rest goes where it causes the least traffic.
            "spread-stages",
            # Needs every stage, and decides from it which fragment computes what.
            "order-sweeps",
            # Makes two fragments of one, so before operations are copied to fragments.
            "split-backward",
            # Pieces of a choice are joined where they have come to the same fragment.
            "join-branches",
            # A copy belongs to one fragment, so these have to be known.
            "copy-cheap-operations",
            "verify-staged",
        ),
    ),
    Phase(
        name="placed",
        made_by="place",
        passes=(
            # How values are divided within an island follows from what the user asked for, through the whole
            # program: the pieces that it is cut into could not tell. Edges first, so that it passes through loops.
            "hide-microbatch-index",
            "sdy-add-data-flow-edges",
            "sdy-aggressive-propagate",
            "sdy-sink-data-flow-edges",
            "show-microbatch-index",
            "make-fragments",
            "verify-placed",
        ),
    ),
    Phase(
        name="scheduled",
        made_by="schedule",
        passes=(
            # First as functions, each by itself; which of them are equal is then a question about functions.
            "outline-fragments",
            "share-fragments",
            # After it is settled which tasks there are.
            "order-tasks",
            "verify-scheduled",
        ),
    ),
)


def phase_named(name: str) -> Phase:
    """The phase of that name, or an error that lists those there are."""
    found = next((phase for phase in PHASES if phase.name == name), None)
    if found is None:
        raise UsageError(f"there is no phase {shown(name)}", remedy=known_names(name, [phase.name for phase in PHASES]))
    return found
