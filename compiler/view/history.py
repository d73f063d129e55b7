"""The IR after every pass, made once more from the module at each phase, and where each of its lines comes from."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from atoll.compiler.mlir.bindings import ir
from atoll.compiler.mlir.ir_text import parse_text, print_module
from atoll.compiler.pipeline.pass_base import Step, step_name
from atoll.compiler.pipeline.pass_manager import run_passes
from atoll.compiler.pipeline.pipeline import PHASES
from atoll.compiler.pipeline.resume import phases_left
from atoll.compiler.tracebacks import is_library

# The name under which the module before all passes is kept beside those at each phase.
INPUT = "input"

# The numbers of a constant that are shown; a program may have some of a hundred million, and nobody reads them.
_MOST_NUMBERS = 1000

_LOCATION = re.compile(r"^(#loc\d*) = loc\((.*)\)$")
_FILE = re.compile(r'^"((?:[^"\\]|\\.)*)":(\d+):')
_ALIAS = re.compile(r"#loc\d*")
_LAST = re.compile(r"loc\((#loc\d*)\)$")
_IN_PLACE = re.compile(r'loc\("(?:[^"\\]|\\.)*"\((#loc\d*)\)\)$')


@dataclass(frozen=True)
class PassedText:
    """What a pass left. text: without locations; places: for each of its lines the user's `train.py:12`, or nothing.

    is_same: the pass has changed nothing, not even a location; text and places are those of the pass before.
    """

    name: str
    phase: str
    text: str
    places: tuple[str, ...]
    is_same: bool = False


def history(dumps: Mapping[str, bytes]) -> Iterator[PassedText]:
    """Run the passes again, phase by phase, from what the phase before has left.

    Nothing has to be kept for it while programs are compiled, and a pass that searches for long does so only here. A
    dump of each phase is where the next one starts, so the phases are those of the program that runs.
    """
    phases = [phase.name for phase in PHASES if phase.name in dumps]
    before = dumps.get(INPUT)
    if before is None:
        if phases:
            yield _text(parse_text(dumps[phases[0]]), phases[0], phases[0])
            before, phases = dumps[phases[0]], phases[1:]
    else:
        yield _text(parse_text(before), INPUT, phases[0] if phases else INPUT)
    last = None
    for phase in phases:
        assert before is not None
        for one in _of_phase(before, phase):
            is_same = last is not None and (one.text, one.places) == (last.text, last.places)
            last = PassedText(one.name, one.phase, one.text, one.places, is_same)
            yield last
        before = dumps[phase]


def _of_phase(before: bytes, phase: str) -> list[PassedText]:
    module = parse_text(before)
    steps = next(steps for one, steps in phases_left(module) if one.name == phase)
    found: list[PassedText] = []

    def observe(step: Step, now: ir.Module) -> None:
        found.append(_text(now, step_name(step), phase))

    run_passes(module, steps, observe)
    return found


def _text(module: ir.Module, name: str, phase: str) -> PassedText:
    text, located = (print_module(module, debug_info, _MOST_NUMBERS) for debug_info in (False, True))
    return PassedText(name, phase, text, _places(text, located))


def _places(text: str, located: str) -> tuple[str, ...]:
    """For each line of a module the user's line, from the same module printed with its locations.

    Without an answer for all lines if the two do not agree line by line.
    """
    lines, count = [], len(text.splitlines())
    found: dict[str, str] = {}
    for line in located.splitlines():
        match = _LOCATION.match(line)
        if match is None:
            lines.append(line)
        else:
            found[match[1]] = _place(match[2], found)
    if len(lines) != count:
        return ("",) * count
    return tuple(_place_of_line(line, found) for line in lines)


def _place_of_line(line: str, found: Mapping[str, str]) -> str:
    match = _LAST.search(line) or _IN_PLACE.search(line)
    return "" if match is None else found.get(match[1], "")


def _place(inside: str, found: Mapping[str, str]) -> str:
    """The user's line of a location; MLIR prints those that it is made of before it."""
    if match := _FILE.match(inside):
        return "" if is_library(match[1]) else f"{match[1]}:{match[2]}"
    return next((place for alias in _ALIAS.findall(inside) if (place := found.get(alias))), "")
