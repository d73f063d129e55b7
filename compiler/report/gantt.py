"""The report as a picture: the tasks of a step in time, predicted and below it as measured."""

from collections.abc import Sequence

from atoll.compiler.report.contents import ReportContents
from atoll.compiler.report.measurement import Measurement
from atoll.compiler.report.prediction import Prediction
from atoll.compiler.report.whole_step import WholeStep
from atoll.compiler.schedules.picture import Bar, Panel, gantt_svg, schedule_panel
from atoll.compiler.schedules.schedule import Schedule
from atoll.compiler.task_name import UPDATE, TaskName
from atoll.compiler.topology.topology import Topology


def report_svg(report: ReportContents) -> str:
    """Both charts on one axis, in milliseconds.

    The prediction is drawn for devices of such a speed that its tasks take as long, all together, as the measured ones.
    The speed of devices is only assumed; what is predicted is how tasks compare and wait for each other.
    """
    predicted, whole, measured = report.pipeline, report.whole_step, report.measured
    shown = whole or predicted
    assert shown is not None, "every step is predicted, by its pipeline or as a whole"
    names = shown.islands
    panels = []
    if whole is not None:
        panels.append(_whole_panel(whole, Topology.parse(report.topology), measured))
    elif predicted is not None:
        panels.append(_predicted_panel(predicted, Topology.parse(report.topology), measured))
    if measured is not None:
        homes = Schedule.parse(predicted.schedule).stage_island if predicted is not None else ()
        panels.append(_measured_panel(measured, names, homes))
    return gantt_svg(panels, "ms")


def _predicted_panel(predicted: Prediction, topology: Topology, measured: Measurement | None) -> Panel:
    slower = 1.0 if measured is None else slowness(predicted, topology, measured)
    simulation = predicted.simulation(topology, slower).divided(1e-3)
    how = "speeds of devices assumed" if measured is None else "speeds of devices as measured in the mean"
    title = f"predicted: {predicted.name}, bubble {100 * simulation.bubble:.0f}%, {how}"
    panel = schedule_panel(Schedule.parse(predicted.schedule), simulation, title)
    return Panel(panel.title, predicted.islands, panel.bars)


def _whole_panel(whole: WholeStep, topology: Topology, measured: Measurement | None) -> Panel:
    """Of a step with no loop or several all tasks."""
    slower = 1.0 if measured is None else slowness_of_whole(whole, measured)
    times, count = whole.times(topology, slower), len(whole.islands)
    bars = []
    for task, start, end in zip(times.tasks, times.starts, times.ends, strict=True):
        if task.row < count:
            kind, label, chunk = _look(task.name, task.row, ())
            title = f"{task.name}, island {whole.islands[task.row]}: {1e3 * start:.6g} to {1e3 * end:.6g}"
            bars.append(
                Bar(row=task.row, kind=kind, label=label, start=1e3 * start, end=1e3 * end, title=title, chunk=chunk)
            )
    how = "speeds of devices assumed" if measured is None else "speeds of devices as measured in the mean"
    loops = f"{len(whole.loops) or 'no'} loop{'s' * (len(whole.loops) != 1)}"
    title = f"predicted: {loops}, bubble {100 * times.bubble(count):.0f}%, {how}"
    return Panel(title, whole.islands, bars)


def slowness_of_whole(whole: WholeStep, measured: Measurement) -> float:
    """How many times as long the measured tasks took, all together, as the predicted ones."""
    wanted = sum(task.seconds for task in whole.tasks if task.row < len(whole.islands))
    found = sum(measured.busy(name) for name in whole.islands)
    return found / wanted if wanted and found else 1.0


def slowness(predicted: Prediction, topology: Topology, measured: Measurement) -> float:
    """How many times as long the measured tasks took, all together, as the predicted ones."""
    simulation = predicted.simulation(topology)
    spans = [(one.start, one.end) for one in simulation.tasks] + list(simulation.updates)
    wanted = sum(end - start for start, end in spans)
    found = sum(measured.busy(name) for name in predicted.islands)
    return found / wanted if wanted and found else 1.0


def _measured_panel(measured: Measurement, names: Sequence[str], homes: Sequence[int]) -> Panel:
    rows = {name: number for number, name in enumerate(names)}
    bars = []
    for task, island, start, end in measured.tasks:
        if island in rows:
            kind, label, chunk = _look(task, rows[island], homes)
            title = f"{task}, island {island}: {1e3 * start:.6g} to {1e3 * end:.6g}"
            bars.append(
                Bar(
                    row=rows[island], kind=kind, label=label, start=1e3 * start, end=1e3 * end, title=title, chunk=chunk
                )
            )
    bubble = f"bubble {100 * measured.bubble(names):.0f}%"
    return Panel(f"measured: {1e3 * measured.step:.4g} ms, {bubble}", names, bars)


def _look(task: str, row: int, homes: Sequence[int]) -> tuple[str, str, int]:
    """The kind of a task's bar, what is written in it, and which of its island's stages it is of."""
    name = TaskName.parse(task)
    if name.microbatch is None:  # around the loop, or in a program without one
        return name.kind, f"{name.kind}{name.number}" if name.kind != UPDATE else name.kind, 0
    if name.stage is None:
        return name.kind, f"{name.kind}{name.microbatch}", 0
    chunk = homes[: name.stage].count(row) if name.stage < len(homes) else 0
    return name.kind, str(name.microbatch), chunk
