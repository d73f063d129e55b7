"""Other schedules for the same stages and costs, simulated, beside the one that was chosen."""

from dataclasses import replace
from typing import Any

from atoll.compiler.errors import PlanError
from atoll.compiler.report.prediction import Prediction
from atoll.compiler.schedules.kinds import SCHEDULE_KINDS, Kind
from atoll.compiler.schedules.schedule import Schedule
from atoll.compiler.topology.topology import Topology


def alternatives(prediction: Prediction, topology: Topology) -> list[dict[str, Any]]:
    """Kinds of schedules that the stages as they are cut can follow, the fastest first.

    Kinds that split backward tasks are compared only where these are split, as else nobody knows what the parts cost.
    """
    chosen = Schedule.parse(prediction.schedule)
    rows = [_row(chosen, prediction, topology, is_chosen=True)]
    is_split = any(stage.weight for stage in prediction.stages)
    for kind in SCHEDULE_KINDS.values():
        if kind.has_backward != chosen.has_backward or (kind.splits_backward and not is_split):
            continue
        made = _made(kind, chosen)
        if made is not None and made.name != chosen.name:
            rows.append(_row(made, prediction, topology, is_chosen=False))
    return sorted(rows, key=lambda row: (row["step"], not row["chosen"]))


def _made(kind: Kind, chosen: Schedule) -> Schedule | None:
    """The schedule of a kind for the islands and stages of another one; None if it is not for these."""
    if kind.stage_island(chosen.islands) != chosen.stage_island:
        return None
    try:
        return kind.build(chosen.islands, chosen.microbatches)
    except PlanError:
        return None


def _row(schedule: Schedule, prediction: Prediction, topology: Topology, *, is_chosen: bool) -> dict[str, Any]:
    found = replace(prediction, schedule=str(schedule)).simulation(topology)
    return {
        "name": schedule.name,
        "step": found.makespan,
        "bubble": found.bubble,
        "activations": max(found.peak, default=0.0),
        "chosen": is_chosen,
    }
