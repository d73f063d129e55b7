"""The one ordered pipeline: which passes lead to which phase, and why each pass is where it is."""

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
            # First, while the arguments are as whoever wrote the module left them; every other pass wants @main.
            "mark-arguments",
            # A composite names a function as a call does; turned into a call, it is inlined like one.
            "stablehlo-legalize-composite-to-call",
            # Next, so that every later pass sees one function and whole name stacks.
            "inline-calls",
            # What it removes is in callees as well, so after inlining it has all of it in @main.
            "drop-empty-shardings",
            # A callee computes what only some of its callers use. Not `canonicalize` or `cse`: they share values,
            # and what two stages share would have to be sent from one to the other.
            "trivial-dce",
            # No call is left, so the callees can go, and with them what only they keep alive.
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
            # Before anything asks the plan: from here on it has an answer.
            "resolve-plan",
            # Before the batch is folded, as a gradient is easiest to see while each sum stands where it is used. Not
            # earlier: a dump of phase `stablehlo` may have lost its locations.
            "find-roles",
            # Before stages are chosen, as a stage is a part of what is done with one microbatch.
            "fold-batch",
            "verify-timed",
        ),
    ),
    Phase(
        name="staged",
        made_by="stage",
        passes=(
            # First of those that know the islands, so that a function which is written for others is refused soon.
            "unite-meshes",
            # Next: a stack of scalars from all stages belongs to none of them, and one in a branch is easier to find
            # before the branch is cut up.
            "chain-scalars",
            # What a loop carries although nobody needs it would be sent to the loop's stage.
            "drop-dead-carries",
            # Before anything is cut: nothing has to be where an array without elements is made.
            "drop-empty-values",
            # While a branch has all that it sums up; what then is left of it needs fewer pieces.
            "take-out-sums",
            # A choice over all parameters has no single stage; its pieces do.
            "split-branches",
            # What the user says comes before everything that is arranged around it.
            "seed-stages",
            # Only where the user names no scopes.
            "cut-automatically",
            # Once every stage is known, and before loops are split, as segments may need them split in more places.
            "cut-segments",
            # As soon as the stage of each layer is known, so that from here on no operation is on several stages.
            "split-layer-loops",
            # After layers are split, so that a share is of what one stage has; before the rest is spread, as it adds
            # operations that need a stage too.
            "share-update",
            # Once the forward part is fixed, the rest goes where it causes the least traffic.
            "spread-stages",
            # Needs the island on which sums meet, to know what an exchange there costs; before sweeps, as what takes
            # the result comes after the exchange.
            "join-sums",
            # Needs the stage of every operation, and decides from it which fragment computes what.
            "order-sweeps",
            "keep-less",
            # Makes two fragments out of one, so it runs before operations are copied to fragments.
            "split-backward",
            # Once it is known which sweeps there are; and before the copies that it makes need copies of constants.
            "make-again",
            # Once fragments are known: pieces of a choice that have come to the same one are joined.
            "join-branches",
            # A copy belongs to one fragment, so fragments have to be known.
            "copy-cheap-operations",
            # Last, when nothing changes any more in what is kept and for whom.
            "keep-narrow",
            "verify-staged",
        ),
    ),
    Phase(
        name="placed",
        made_by="place",
        passes=(
            # How values are divided within an island follows from what the user asked for, through the whole program; a
            # fragment alone could not tell. Edges first, so that propagation passes through loops.
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
            # Each fragment becomes a function first, so that finding equal ones is a question about functions.
            "outline-fragments",
            "share-fragments",
            # Once it is settled which tasks there are.
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
