"""What is predicted of a step, and where its time goes."""

from dataclasses import dataclass, replace

from atoll.compiler.mlir.bindings import ir, mpmd
from atoll.compiler.mlir.functions import operations_in
from atoll.compiler.module.main_function import entry_function
from atoll.compiler.report.prediction import Prediction, predict
from atoll.compiler.report.whole_step import WholeStep, step_of_all_tasks
from atoll.compiler.topology.topology import Topology


@dataclass(frozen=True)
class StepParts:
    """Seconds of a step, and of its parts.

    busy: of the busiest island's tasks. links: by how much the step would be shorter if links between stages took no
        time. exchange: what replicas exchange without any task that hides it. bubble: the part of the step in which an
        island pauses, on average.
    """

    step: float
    busy: float
    links: float
    exchange: float
    bubble: float

    @property
    def rest(self) -> float:
        """What is left of the step: the pipeline fills and empties, and islands are uneven."""
        return max(0.0, self.step - self.busy - self.links - self.exchange)


def predictions(module: ir.Module) -> tuple[Prediction | None, WholeStep | None]:
    """What is predicted of a module at phase `scheduled`: of its last loop over microbatches, if it has a schedule, and
    of the whole step, where that loop is not all there is."""
    loops, pipeline = operations_in(entry_function(module), mpmd.ForOp), predict(module)
    return pipeline, None if pipeline is not None and len(loops) == 1 else step_of_all_tasks(module)


def parts_of_step(pipeline: Prediction | None, whole: WholeStep | None, topology: Topology) -> StepParts:
    """The parts of what `predictions` gives, as a report has it."""
    if whole is not None:
        return _parts_of_whole(whole, topology)
    assert pipeline is not None
    return _parts_of_pipeline(pipeline, topology)


def _parts_of_pipeline(pipeline: Prediction, topology: Topology) -> StepParts:
    """Of a step with one loop over microbatches."""
    alone = replace(pipeline, exchanges=()).simulation(topology)
    busy = max(
        sum(task.end - task.start for task in alone.tasks if task.island == number) + end - begin
        for number, (begin, end) in enumerate(alone.updates)
    )
    free = _without_links(pipeline.step, pipeline.bubble, pipeline.bubble_without_links)
    return StepParts(
        step=pipeline.step,
        busy=busy,
        links=max(0.0, pipeline.step - free),
        exchange=max(0.0, pipeline.step - alone.makespan),
        bubble=pipeline.bubble,
    )


def _parts_of_whole(whole: WholeStep, topology: Topology) -> StepParts:
    """Of a step with no loop or several."""
    count = len(whole.islands)
    alone = replace(
        whole, tasks=tuple(one if one.row < count else one._replace(seconds=0.0) for one in whole.tasks)
    ).times(topology)
    free = _without_links(whole.step, whole.bubble, whole.bubble_without_links)
    return StepParts(
        step=whole.step,
        busy=max(sum(one.seconds for one in whole.tasks if one.row == row) for row in range(count)),
        links=max(0.0, whole.step - free),
        exchange=max(0.0, whole.step - alone.makespan),
        bubble=whole.bubble,
    )


def _without_links(step: float, bubble: float, bubble_without_links: float) -> float:
    """The step if links took no time: the work in it is the same."""
    return (1 - bubble) * step / (1 - bubble_without_links) if bubble_without_links < 1 else step
