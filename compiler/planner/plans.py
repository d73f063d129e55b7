"""Finds the best plan for a program: what its layers cost, proposals, and the programs of the best of these."""

from math import inf

from atoll.compiler.errors import PlanError
from atoll.compiler.planner.known import Known, Target, Told, known_of
from atoll.compiler.planner.proposals import Proposals, proposals
from atoll.compiler.planner.ranking import Ranking, what_binds, why_first
from atoll.compiler.planner.rows import rows_of, rows_of_automatic_cut, without_its_way
from atoll.compiler.text.quantities import bytes_text
from atoll.compiler.tracebacks import caller

_REMEDY = "take more or larger islands, donate what results replace, or divide more over their devices by shardings"


def best_plans(program: Target, told: Told = lambda _: None) -> Ranking:
    """The best plans for a program on its topology; PlanError if none fits the memory of the islands."""
    known = known_of(program, told)
    found, unlimited = _found(known, told)
    rows = rows_of(program, known, found.ranked, told) or rows_of_automatic_cut(program, known, told)
    if not rows:
        raise _nothing_fits(known)
    best = next((one.seconds for one in found.ranked if rows[0].plan in map(str, one.plans(known.model))), rows[0].step)
    return Ranking(
        topology=str(program.topology),
        plans=tuple(rows),
        bound=min(found.bound, rows[0].step),
        tried=found.tried,
        why=why_first(tuple(rows)),
        without=without_its_way(program, known, rows[0], told),
        binds=what_binds(rows[0], None if unlimited is None else unlimited * rows[0].step / best),
        notes=known.notes,
    )


def _found(known: Known, told: Told) -> tuple[Proposals, float | None]:
    """What fits the memory, and the seconds of the best without its limits, where that is faster.

    What only the update reads is put on the host where that helps: where memory binds.
    """
    found = _proposed(known, told)
    if not found.is_bound_by_memory or all(limit == inf for limit in known.model.memory):
        return found, None
    faster = _proposed(known.without_limits(), told, found.best).ranked
    unlimited = faster[0].seconds if faster and faster[0].seconds < found.best else None
    if unlimited is not None and known.model.offload:
        found = found.beside(_proposed(known, told, found.best, offloaded=True))
    return found, unlimited


def _proposed(known: Known, told: Told, below: float = inf, *, offloaded: bool = False) -> Proposals:
    return proposals(known.model, known.batch, known.is_cut, told, below, devices=known.devices, offloaded=offloaded)


def _nothing_fits(known: Known) -> PlanError:
    """With the arithmetic: what the whole model needs, and what there is."""
    model = known.model
    chain = model.chain(1.0 if known.batch is not None and known.is_cut else float(known.batch or 1))
    kinds, layers = range(chain.kinds), range(chain.layers)
    state, kept, made = (
        max(chain.total(name, kind, 0, chain.layers) for kind in kinds) for name in ("state", "kept", "made")
    )
    fewest, most = (bound(model.memory[home] for home in model.homes) for bound in (min, max))
    least = max(min(chain.needs(kind, one, one + 1, 1) for kind in kinds) for one in layers)
    needs = [bytes_text(round(one)) for one in (state, kept, least)]
    what = f"no plan fits: all layers together take {needs[0]} of a device for parameters, sums and what the optimizer "
    what += f"keeps, {bytes_text(round(made))} for results that take over no memory, " if made else "keeps, "
    what += f"and {needs[1]} for the smallest microbatch; "
    if least > most:
        what += f"one of them alone takes {needs[2]}, and a device has {bytes_text(round(most))}"
    else:
        what += f"no cut that was tried leaves few enough of them to each of the {len(model.homes)} islands, "
        what += f"of which a device has {bytes_text(round(fewest))} or more"
    return PlanError(what, caller(), _REMEDY)
