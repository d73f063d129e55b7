"""The table of what it costs that a step goes over the batch several times, line by line."""

from collections.abc import Iterator, Sequence

from atoll.compiler.module.notes import LineExtra, Note, SeveralLoops
from atoll.compiler.report.contents import ReportContents
from atoll.compiler.text.quantities import bytes_text, count_text

# The text shows the lines that cost most; the notes have all.
_LINES_SHOWN = 8


def extra_rows(report: ReportContents) -> list[str]:
    """A row for each of the user's lines, their sum, and what the plan allows."""
    total = next((note.fact for note in report.notes if isinstance(note.fact, SeveralLoops)), None)
    lines = [(note, note.fact) for note in report.notes if isinstance(note.fact, LineExtra)]
    if total is None or not lines:
        return []
    pauses = {} if report.whole_step is None else {one.loop: one.pause for one in report.whole_step.loops}

    def row(fact: LineExtra, place: str) -> str:
        pause = sum(pauses.get(number, 0.0) for number in fact.loops)
        return _row("", _count(fact.again), _count(fact.whole), _bytes(fact.bytes), fact.loops, pause, place)

    shown = sorted(lines, key=lambda one: _weight(one[1], total), reverse=True)[:_LINES_SHOWN]
    rows = [f"{'extra':<10}{'done again':>12}{'at once':>12}{'kept':>12}{'waits':>8}{'bubble':>8}   line"]
    rows += [row(fact, _where(note)) for note, fact in lines if (note, fact) in shown]
    if len(lines) > len(shown):
        rows.append(_row(line=f"and {len(lines) - len(shown)} lines that cost less"))
    ends = sorted({number for _, fact in lines for number in fact.loops})
    again, whole = (f"{percent}%" if percent else "" for percent in (total.again, total.whole))
    pause = sum(pauses.get(number, 0.0) for number in ends)
    rows.append(_row("in all", again, whole, _bytes(total.bytes), ends, pause))
    rows.append(_row("allowed", f"{total.allowed}%", "", bytes_text(total.room), line=_why_more(total)))
    return [*rows, *_device_rows(report)]


def _row(
    name: str = "",
    again: str = "",
    whole: str = "",
    kept: str = "",
    ends: Sequence[int] = (),
    pause: float = 0.0,
    line: str = "",
) -> str:
    share = f"{100 * pause:.0f}%" if pause else ""
    return f"{name:<10}{again:>12}{whole:>12}{kept:>12}{len(ends) or '':>8}{share:>8}   {line}".rstrip()


def _where(note: Note) -> str:
    return str(note.place) if note.place else "(no line is known)"


def _weight(fact: LineExtra, total: SeveralLoops) -> tuple[float, int, int]:
    return fact.bytes / max(1, total.bytes), fact.again + fact.whole, len(fact.loops)


def _why_more(total: SeveralLoops) -> str:
    return "more is kept, as too much would be done again otherwise" if total.bytes > total.room else ""


def _device_rows(report: ReportContents) -> Iterator[str]:
    kept = [f"{one.name} {bytes_text(one.kept_bytes)}" for one in report.islands if one.kept_bytes]
    if kept:
        yield f"kept      on each device: {', '.join(kept)}"


def _count(operations: int) -> str:
    return count_text(operations) if operations else ""


def _bytes(size: int) -> str:
    return bytes_text(size) if size else ""
