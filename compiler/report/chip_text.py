"""What a report says of devices that are not here, as text."""

from collections.abc import Iterable

from atoll.compiler.report.chips import ChipReport, CodeReport
from atoll.compiler.report.contents import ReportContents
from atoll.compiler.text.quantities import bytes_text, count_text, seconds_text

# Of the fragments the text shows those that need most memory; the object and its JSON have all.
_CODES_SHOWN = 8


def chip_rows(report: ReportContents) -> list[str]:
    """The memory of each island's devices, and what goes on in them."""
    if not report.chips:
        return []
    cached = sum(not one.seconds for one in report.codes)
    seconds = seconds_text(sum(one.seconds for one in report.codes))
    kept = f", {cached} of them kept from before" if cached else ""
    heads = ("arguments", "results", "temporary", "programs", "peak", "limit")
    rows = [
        f"compiled  {len(report.codes)} fragments by {report.compiler} in {seconds} of work{kept}; nothing runs here",
        "",
        f"{'a device of':<12}{_columns(heads)}   worst while",
    ]
    for one in report.chips:
        sizes = (one.arguments, one.results, one.temporaries, one.programs, one.peak, one.limit)
        rows.append(f"{one.name:<12}{_columns(map(bytes_text, sizes))}   {one.task}")
    if on_host := ", ".join(f"{one.name} {bytes_text(one.host)}" for one in report.chips if one.host):
        rows.append(f"on the host, for each device: {on_host}")
    rows += ["", f"{'in a step':<12}{_columns(('FLOP', 'HBM bytes', 'collectives'))}   on each device"]
    return [*rows, *(f"{one.name:<12}{_work(one)}" for one in report.chips)]


def code_rows(report: ReportContents) -> list[str]:
    """What each fragment needs on each device."""
    if not report.codes:
        return []
    heads = ("arguments", "results", "in place", "temporary", "FLOP", "HBM bytes", "collectives")
    rows = [f"{'fragment':<20}{'runs':>6}{_columns(heads)}   in one run"]
    shown = sorted(report.codes, key=lambda one: one.arguments + one.results + one.temporaries, reverse=True)
    for one in shown[:_CODES_SHOWN]:
        sizes = (one.arguments, one.results, one.aliased, one.temporaries)
        rows.append(f"{one.name:<20}{one.runs:>6}{_columns(map(bytes_text, sizes))}{_work(one)}{_doubt(one)}")
    if len(shown) > _CODES_SHOWN:
        rows.append(f"{'':<20}{len(shown) - _CODES_SHOWN:>6} smaller fragments")
    return rows


def _work(one: ChipReport | CodeReport) -> str:
    return _columns((count_text(one.flops), bytes_text(one.hbm), bytes_text(one.collectives)))


def _doubt(one: CodeReport) -> str:
    if not one.uncounted:
        return ""
    loops = "a loop" if one.uncounted == 1 else f"{one.uncounted} loops"
    return f"   at least: {loops} counted once"


def _columns(texts: Iterable[str]) -> str:
    return "".join(f"{text:>12}" for text in texts)
