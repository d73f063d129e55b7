"""The report as text for people."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from atoll.compiler.cost.devices import device_kind
from atoll.compiler.module.notes import LineExtra, SeveralLoops, Traffic
from atoll.compiler.report.buffers import BufferGroup
from atoll.compiler.report.chip_text import chip_rows, code_rows
from atoll.compiler.report.contents import ExchangeReport, ReportContents, TransferReport
from atoll.compiler.report.extra_text import extra_rows
from atoll.compiler.report.measurement import Measurement
from atoll.compiler.report.prediction import Prediction
from atoll.compiler.text.quantities import bytes_text, count_text, seconds_text
from atoll.compiler.topology.topology import Topology

_OF_LOOPS = "overlap with the loop before; pause of an island until the next one begins"

# Of each island's kinds of buffers the text shows those that take most; the object and its JSON have all.
_BUFFERS_SHOWN = 4


def report_text(report: ReportContents) -> str:
    """Sections of lines, with an empty line between them."""
    sections = (
        _head(report),
        _island_rows(report),
        chip_rows(report),
        code_rows(report),
        _loop_rows(report),
        _pipeline_rows(report),
        _measured_rows(report),
        _note_rows(report),
        extra_rows(report),
        _shared_rows(report),
        _exchange_rows(report),
        _transfer_rows(report),
        _buffer_rows(report),
    )
    return "\n\n".join("\n".join(lines) for lines in sections if lines)


def _head(report: ReportContents) -> list[str]:
    first, *rest = report.topology.splitlines()
    lines = [f"topology  {first}", *(f"          {line}" for line in rest)]
    segments, stages = report.segments, str(report.stages)
    if segments > 1:
        stages = f"{report.stages // segments} of {segments} segments each"
    return [*lines, f"plan      {report.plan}", f"stages    {stages}, {report.fragments} different fragments"]


def _island_rows(report: ReportContents) -> list[str]:
    total = sum(island.cost for island in report.islands) or 1
    rows = [f"{'island':<12}{'arguments':>12}{'peak':>12}{'cost':>12}{'share':>8}   tasks"]
    for one in report.islands:
        share = f"{100 * one.cost / total:.0f}%"
        sizes = f"{bytes_text(one.input_bytes):>12}{bytes_text(one.peak_bytes):>12}{count_text(one.cost):>12}"
        rows.append(f"{one.name:<12}{sizes}{share:>8}   {_tasks_text(one.tasks) or '(empty: no stage)'}")
    on_host = ", ".join(f"{one.name} {bytes_text(one.host_bytes)}" for one in report.islands if one.host_bytes)
    return [*rows, *([f"on the host, for each device: {on_host}"] if on_host else [])]


def _tasks_text(tasks: Sequence[str]) -> str:
    """Names, or what is repeated with how often, and then set off by commas."""
    return (", " if any(" " in one for one in tasks) else " ").join(tasks)


def _loop_rows(report: ReportContents) -> list[str]:
    one = report.whole_step
    if one is None:
        return []
    bubbles = f"bubble {_percent(one.bubble)} ({_percent(one.bubble_without_links)} if links took no time)"
    loops = {0: "no loop over microbatches", 1: "1 loop over microbatches, which no schedule is for"}
    rows = [
        f"step      {loops.get(len(one.loops), f'{len(one.loops)} loops over microbatches, one after the other')}",
        f"          predicted step {seconds_text(one.step)}, {bubbles}",
        f"          assumed: {_assumed(report.topology)}",
    ]
    if not one.loops:
        return rows
    rows += ["", f"{'loop':<8}{'begins':>12}{'ends':>12}{'overlap':>12}{'pause':>8}   {_OF_LOOPS}"]
    for name, span in zip([*(f"L{span.loop}" for span in one.loops[:-1]), "last"], one.loops, strict=True):
        times = (seconds_text(time) for time in (span.start, span.end, span.overlap))
        rows.append(f"{name:<8}{''.join(f'{time:>12}' for time in times)}{_percent(span.pause):>8}")
    return rows


def _pipeline_rows(report: ReportContents) -> list[str]:
    one = report.pipeline
    if one is None:
        return []
    microbatches = f"{one.microbatches} microbatch{'es' if one.microbatches > 1 else ''}"
    step, span, bound = map(seconds_text, (one.step, one.span, one.lower_bound))
    bubbles = f"bubble {_percent(one.bubble)} ({_percent(one.bubble_without_links)} if links took no time)"
    stages, islands = (
        f"{count} {noun}{'s' if count > 1 else ''}"
        for count, noun in ((len(one.stages), "stage"), (len(one.islands), "island"))
    )
    loops = next((note.fact.loops for note in report.notes if isinstance(note.fact, SeveralLoops)), 1)
    counted = "operations for one microbatch" + (f", in the last of {loops} loops" if loops > 1 else "")
    rows = [
        f"pipeline  {one.name}, {microbatches}, {stages} on {islands}",
        f"          predicted {'step' if report.whole_step is None else 'last loop by itself'} {step}, {bubbles}",
        f"          longest span of an island {span}; no order of these tasks takes less than {bound}",
        f"          assumed: {_assumed(report.topology)}",
        "",
        f"{'stage':<8}{'island':<12}{'forward':>12}{'backward':>12}{'weight':>12}   {counted}",
    ]
    for number, stage in enumerate(one.stages):
        parts = (stage.forward, stage.backward, stage.weight)
        rows.append(f"{number:<8}{stage.island:<12}{''.join(f'{count_text(part):>12}' for part in parts)}")
    rows += ["", *_activation_rows(one)]
    return rows


def _exchange_rows(report: ReportContents) -> list[str]:
    if report.replicas == 1:
        return []
    count = len(report.islands) // report.replicas
    names = [one.name for one in report.islands]
    groups = [", ".join(names[first : first + count]) for first in range(0, len(names), count)]
    rows = [f"replicas  {report.replicas}: {' | '.join(groups)}"]
    if not report.exchanges:
        return [*rows, "          nothing is summed over them"]
    rows += ["", f"{'exchange':<28}{'bytes':>12}{'sums':>8}   form"]
    for one in report.exchanges:
        when = _after_text(one)
        how = f"{one.messages} message{'s' if one.messages > 1 else ''} of {bytes_text(one.sent)} in all from each"
        what = f"{one.form} {when}: {how}, {seconds_text(one.seconds)}"
        rows.append(f"{' <-> '.join(one.islands):<28}{bytes_text(one.bytes):>12}{one.sums:>8}   {what}")
    chunks = dict.fromkeys(bytes_text(one.chunk) for one in report.exchanges)
    return [*rows, f"sums are packed up to {' or '.join(chunks)}, where the latency of the link is a tenth"]


def _after_text(one: ExchangeReport) -> str:
    if one.in_loop:
        return f"after the last {one.task}" if one.task else "after the loop"
    return f"after {one.task}" if one.task else "as soon as it is there"


def _activation_rows(one: Prediction) -> list[str]:
    rows = [f"{'island':<20}{'around loop':>12}{'activations':>12}   at most, of a microbatch of its share"]
    for island, around, activations in zip(one.islands, one.around, one.activations, strict=True):
        rows.append(f"{island:<20}{count_text(around):>12}{activations:>12.4g}")
    return rows


def _assumed(topology: str) -> str:
    islands = Topology.parse(topology)
    speeds = []
    for kind, island in {island.kind: island for island in reversed(islands.islands)}.items():
        found, measured = device_kind(island, islands), islands.rates_of(kind)
        text = f"{count_text(round(found.speed))} operations a second on a device of kind {kind}, "
        if found.convolutions is not None:
            text += f"{count_text(round(found.convolutions * found.products_reach))} in convolutions, "
        text += f"and {count_text(round(found.memory * found.moves_reach))}B through its memory"
        if found.reordering is not None:
            text += f" ({count_text(round(found.reordering * found.moves_reach))}B in another order)"
        if found.task:
            text += f", with {seconds_text(found.task)} for a task beside its work"
        if measured is not None:
            text += ", as the topology says"
        if measured is not None and measured.at_once is not None:
            text += f"; together they do {float(measured.at_once):g} times as much"
        speeds.append(text)
    return f"{', '.join(reversed(speeds))}; what no sharding divides, each device does"


def _measured_rows(report: ReportContents) -> list[str]:
    one = report.measured
    if one is None:
        return []
    names = report.pipeline.islands if report.pipeline else [island.name for island in report.islands]
    rows = [f"measured  step {seconds_text(one.step)}, bubble {_percent(one.bubble(names))}, in the last traced step"]
    return [*rows, *_busy_rows(one, names)]


def _busy_rows(one: Measurement, names: Sequence[str]) -> list[str]:
    return [f"          {name:<12}busy {seconds_text(one.busy(name)):>12}" for name in names]


def _buffer_rows(report: ReportContents) -> list[str]:
    rows = [f"{'buffers':<12}{'of each':>12}{'count':>8}{'at once':>8}   what"]
    for island in report.islands:
        groups = sorted(
            (one for one in report.buffers if one.island == island.name),
            key=lambda one: one.alive * one.bytes,
            reverse=True,
        )
        rows += [_buffer_row(one) for one in groups[:_BUFFERS_SHOWN]]
        if len(groups) > _BUFFERS_SHOWN:
            rest = sum(one.count for one in groups[_BUFFERS_SHOWN:])
            rows.append(f"{island.name:<12}{'':>12}{rest:>8}{'':>8}   smaller ones")
    return rows if len(rows) > 1 else []


def _buffer_row(one: BufferGroup) -> str:
    born = one.born if one.born in ("argument", "count") or one.born.startswith("from ") else f"made by {one.born}"
    what = f"{one.buffer}, {born}, {one.end}"
    return f"{one.island:<12}{bytes_text(one.bytes):>12}{one.count:>8}{one.alive:>8}   {what}"


def _note_rows(report: ReportContents) -> list[str]:
    return [str(one) for one in report.notes if not isinstance(one.fact, Traffic | LineExtra)]


def _shared_rows(report: ReportContents) -> list[str]:
    rows = [
        f"{one.path:<28}{bytes_text(one.bytes):>12}   "
        f"lives on {one.home}, {one.why}; sent to {', '.join(one.islands[1:])}"
        for one in report.shared
    ]
    return ["arguments that several islands use", *rows] if rows else []


def _transfer_rows(report: ReportContents) -> list[str]:
    if not report.links:
        return ["nothing crosses between islands"]
    transfers = _alike_together(report.transfers)
    often = 7 * any(one.times > 1 for one in transfers)  # the width of `x 512`
    of_each = " (in each replica the same)" if report.replicas > 1 else ""
    rows = [f"{'transfer':<28}{'bytes':>12}{'':{often}}   made at{of_each}"]
    for one in transfers:
        times = f" x {one.times}" if one.times > 1 else ""
        where = one.where + "".join(f", resharded on {island}" for island in one.resharded)
        rows.append(_row(one.source, one.target, one.bytes, where, f"{times:<{often}}"))
    rows = [*rows, ""] if transfers else []  # replicas of one stage exchange sums, and that alone
    rows += [f"{'link':<28}{'bytes':>12}{'':{often}}   each step, over"]
    for link in report.links:
        default = " (assumed: the topology does not say)" if link.is_default else ""
        rows.append(_row(link.source, link.target, link.bytes, link.text + default, " " * often))
    traffic = [str(one.fact) for one in report.notes if isinstance(one.fact, Traffic)]
    return [*rows, "", *traffic] if traffic else rows


def _alike_together(transfers: Sequence[TransferReport]) -> list[TransferReport]:
    """One transfer for all of the same size from the same line: each layer of a loop may send its own value."""
    times: Counter[TransferReport] = Counter()
    for one in transfers:
        times[replace(one, times=1)] += one.times
    return [replace(one, times=count) for one, count in times.items()]


def _row(source: str, target: str, size: int, text: str, times: str) -> str:
    return f"{source + ' -> ' + target:<28}{bytes_text(size):>12}{times}   {text}"


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.0f}%"
