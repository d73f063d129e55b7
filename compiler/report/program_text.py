"""A program as text for people: what each island does, and the code of every fragment."""

from collections.abc import Iterator, Sequence

from atoll.compiler.mlir.ir_text import parse_text, print_module
from atoll.runtime.program import (
    Count,
    Free,
    Input,
    Instruction,
    IslandProgram,
    Output,
    Port,
    Program,
    Receive,
    Run,
    Send,
)


def program_text(program: Program, debug_info: bool = False) -> str:
    """The whole program; buffers are called `%3`, a number that counts on each island by itself."""
    return "\n".join(_lines(program, debug_info)) + "\n"


def _lines(program: Program, debug_info: bool) -> Iterator[str]:
    yield from (f"topology {line}" for line in program.topology.splitlines())
    yield f"plan {program.plan}"
    yield ""
    yield from (_input(program, one) for one in program.inputs)
    yield from (_output(program, one) for one in program.outputs)
    for island in program.islands:
        yield ""
        yield from _island(program, island)
    for number, code in enumerate(program.codes):
        at = f", from {code.where}" if code.where else ""
        scopes = f", scopes {code.scopes}" if code.scopes else ""
        yield ""
        yield f"code {number} {code.name}: {len(code.module)} bytes{scopes}{at}"
        text = print_module(parse_text(code.module), debug_info)
        yield from (f"  {line}" for line in text.splitlines())


def _input(program: Program, one: Input) -> str:
    donated = ", donated" if one.donated else ""
    return f"input {one.path} : {_type(one)}{donated} -> {_places(program, one) or 'not used'}"


def _output(program: Program, one: Output) -> str:
    return f"output {one.path} : {_type(one)} <- {_places(program, one)}"


def _type(one: Port) -> str:
    return f"{one.dtype}{list(one.shape)}{' weak' if one.weak_type else ''}"


def _places(program: Program, one: Port) -> str:
    dimensions = program.division(one).dimensions
    parts = f", parts along dimension {' and '.join(map(str, dimensions))}" if dimensions else ""
    copies = (" and ".join(f"{island} %{number}" for island, number in copies) for copies in one.places)
    return ", ".join(copies) + parts


def _island(program: Program, island: IslandProgram) -> Iterator[str]:
    axes = ", ".join(f"{name}={size}" for name, size in island.axes)
    yield f"island {island.name} [{axes}]"
    for instruction in island.instructions:
        yield f"  {_instruction(program, island, instruction)}"


def _instruction(program: Program, island: IslandProgram, one: Instruction) -> str:
    def made(number: int) -> str:
        buffer = island.buffers[number]
        spec = f" over {', '.join('*'.join(axes) or '-' for axes in buffer.spec)}" if any(buffer.spec) else ""
        return f"%{number}: {buffer}{spec}"

    match one:
        case Run(task, code, inputs, outputs, donated):
            results = ", ".join(map(made, outputs))
            taken = f", donating {_numbers(donated)}" if donated else ""
            return f"run {task}: {program.codes[code].name}({_numbers(inputs)}) -> ({results}){taken}"
        case Count(number, microbatch):
            return f"count {made(number)} = {microbatch}"
        case Send(number, to, tag):
            return f"send %{number} to {to}, {island.buffers[number].bytes} bytes, tag {tag}"
        case Receive(number, source, tag):
            return f"receive {made(number)} from {source}, tag {tag}"
        case Free(buffers):
            return f"free {_numbers(buffers)}"


def _numbers(numbers: Sequence[int]) -> str:
    return ", ".join(f"%{number}" for number in numbers)
