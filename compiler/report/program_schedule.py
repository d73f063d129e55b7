"""The schedule that a program follows, read from its instruction streams."""

from atoll.compiler.report.prediction import Prediction
from atoll.compiler.schedules.schedule import Schedule
from atoll.compiler.schedules.task import Task
from atoll.runtime.program import IslandProgram, Program, Run


def followed_schedule(program: Program, predicted: Prediction | None) -> Schedule | None:
    """The rows are those of the streams; all that streams do not say is that of the predicted schedule.

    None for a program without a loop over microbatches, or with one that no schedule is for.
    """
    if predicted is None:
        return None
    known = Schedule.parse(predicted.schedule)
    islands = {island.name: island for island in program.islands}
    rows = tuple(_row(islands[name]) for name in predicted.islands)
    if rows == known.rows:
        return known
    return Schedule(known.name, known.microbatches, known.stage_island, rows)


def _row(island: IslandProgram) -> tuple[Task, ...]:
    found = (Task.of(one.name) for one in island.instructions if isinstance(one, Run))
    return tuple(task for task in found if task is not None)
