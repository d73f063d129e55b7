"""Refuses a plan that does not fit the chips: with the arithmetic, the largest values, and the lines that make them."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import NoReturn

from atoll.compiler.ahead.compilation import CannotCompile, CodeAhead
from atoll.compiler.ahead.limits import NoRoom, no_room
from atoll.compiler.ahead.memory import Peak, sizes_of
from atoll.compiler.errors import CompileError, PlanError
from atoll.compiler.mlir.bindings import ir
from atoll.compiler.mlir.functions import body_of, functions_in, operations_in
from atoll.compiler.mlir.ir_text import parse_text
from atoll.compiler.mlir.locations import place
from atoll.compiler.module.graph import bytes_of
from atoll.compiler.report.chips import ChipReport
from atoll.compiler.text.quantities import bytes_text
from atoll.compiler.tracebacks import caller
from atoll.runtime.failure import reason
from atoll.runtime.program import Code, IslandProgram, Program, Run

_SHOWN = 6
_REMEDY = "cut into more stages or microbatches, divide values over more axes, or take a larger slice"


def check_fits(
    program: Program, island: IslandProgram, codes: Mapping[int, CodeAhead], peak: Peak, told: ChipReport
) -> None:
    """PlanError if the island's devices have less memory than a step needs."""
    if told.peak <= told.limit:
        return
    needed, limit = bytes_text(told.peak), bytes_text(told.limit)
    during = f" while {told.task} runs" if peak.run else ""
    what = f"each device of island {island.name} has {limit} and needs {needed}{during}"
    given = {number for one in program.inputs for name, number in one.every_place if name == island.name}
    sizes = sizes_of(island, codes)
    arguments = sum(sizes[number] for number in peak.waiting if number in given)
    rows = [
        (arguments, "arguments of the step"),
        (peak.held - arguments, "values between tasks"),
        (peak.taken, f"results and temporaries of {told.task}"),
        (told.programs, "the fragments themselves"),
    ]
    largest = _largest(_waiting(program, island, peak, sizes) + _made(program, codes, peak))
    raise PlanError(
        what,
        caller(),
        _REMEDY,
        "\n".join([*(_row(row) for row in rows if row[0]), "the largest:", *map(_row, largest)]),
    )


def refuse_code(error: CannotCompile) -> NoReturn:
    """Tell of a fragment that the compiler refuses."""
    code, run = error.code, error.run
    found = no_room(error.reason)
    if found is not None:
        raise _too_large(code, run, error.island, found) from error
    what = f"fragment {code.name} of task {run.task} cannot be compiled for island {error.island.name}"
    raise CompileError(f"{what}: {reason(error.reason)}", code.where) from error


def _too_large(code: Code, run: Run, island: IslandProgram, found: NoRoom) -> PlanError:
    """A fragment that alone needs more than there is. Its compiler does not say for what; its largest values tell."""
    needed, limit = bytes_text(found.needed), bytes_text(found.limit)
    what = f"each device of island {island.name} has {limit}, and {run.task} alone needs {needed}"
    module = parse_text(code.module)
    inside = [
        (bytes_of(result.type), f"{_type_text(result.type)}, {place(one.location) or code.where}")
        for one in operations_in(module.operation, ir.OpView)
        for result in one.operation.results
    ]
    head = f"the largest values of {code.name}, on all devices together:"
    return PlanError(what, caller(), _REMEDY, "\n".join([head, *map(_row, _largest(inside))]))


def _row(row: tuple[int, str]) -> str:
    size, text = row
    return f"{bytes_text(size):>12}   {text}"


def _largest(values: Iterable[tuple[int, str]]) -> list[tuple[int, str]]:
    """The largest, those of one kind together, and how many there are of it."""
    total: Counter[str] = Counter()
    count: Counter[str] = Counter()
    for size, text in values:
        total[text] += size
        count[text] += 1
    shown = [(text, size) for text, size in total.most_common(_SHOWN) if size]
    return [(size, f"{count[text]} x {text}" if count[text] > 1 else text) for text, size in shown]


def _waiting(program: Program, island: IslandProgram, peak: Peak, sizes: Sequence[int]) -> list[tuple[int, str]]:
    """What is there when a step holds most: each buffer with its size and where it is from."""
    paths = {number: one.path for one in program.inputs for name, number in one.every_place if name == island.name}
    makers = {
        number: (one, position)
        for one in island.instructions
        if isinstance(one, Run)
        for position, number in enumerate(one.outputs)
    }
    found = []
    for number in peak.waiting:
        buffer = island.buffers[number]
        origin = paths.get(number, "received")
        if number in makers:
            run, position = makers[number]
            origin = f"made by {run.name.rolled}, {_lines_of_results(program.codes[run.code])[position]}"
        found.append((sizes[number], f"{buffer}, {origin}"))
    return found


def _made(program: Program, codes: Mapping[int, CodeAhead], peak: Peak) -> list[tuple[int, str]]:
    """What the task that runs then takes in addition: room for results that do not lie where arguments were, and for
    what it needs meanwhile."""
    if peak.run is None:
        return []
    code, ahead, task = program.codes[peak.run.code], codes[peak.run.code], peak.run.name.rolled
    results = ahead.result_bytes - ahead.aliased
    return [(results, f"results of {task}, {code.where}"), (ahead.temporaries, f"temporaries of {task}, {code.where}")]


@cache
def _lines_of_results(code: Code) -> list[str]:
    """The user's line that makes each result."""
    module = parse_text(code.module)  # held: operations do not keep their module alive
    *_, returned = body_of(functions_in(module)["main"]).operations
    return [_line(value, code) for value in returned.operation.operands]


def _line(value: ir.Value[ir.Type], code: Code) -> str:
    owner = value.owner
    return code.where if isinstance(owner, ir.Block) else place(owner.location) or code.where


def _type_text(tensor: ir.Type) -> str:
    return str(tensor).removeprefix("tensor<").removesuffix(">")
