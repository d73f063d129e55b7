"""Programs that only send, made by hand; and what runs them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import numpy
from atoll.runtime.controller import Controller
from atoll.runtime.program import Buffer, Input, IslandProgram, Output, Program, Receive, Send
from processes.counted import processes_of

import atoll

AXES = (("devices", 1),)
NAMES = ("island0", "island1")


def crossing(size: int) -> Program:
    """Sends an argument of so many bytes to the other island."""
    return back_and_forth(0, Buffer((size // 4,), "float32"))


def back_and_forth(times: int, buffer: Buffer = Buffer((), "float32")) -> Program:  # noqa: B008 (frozen)
    """Sends an argument to the other island; and back and there again, so many times."""
    own: list[Send | Receive] = [Send(0, NAMES[1], 0)]
    other: list[Send | Receive] = [Receive(0, NAMES[0], 0)]
    for number in range(times):
        other += [Send(number, NAMES[0], number), Receive(number + 1, NAMES[0], number + 1)]
        own += [Receive(number + 1, NAMES[1], number), Send(number + 1, NAMES[1], number + 1)]
    islands = tuple(
        IslandProgram(name, AXES, (buffer,) * (times + 1), tuple(instructions))
        for name, instructions in zip(NAMES, (own, other), strict=True)
    )
    places = [((name, number),) for name, number in zip(NAMES, (0, times), strict=True)]
    return Program(
        islands,
        (),
        (Input("x", buffer.shape, buffer.dtype, places=(places[0],)),),
        (Output("y", buffer.shape, buffer.dtype, False, (places[1],)),),
    )


@dataclass(frozen=True)
class Running:
    """step: runs a step of a program, and waits for its end. processes: those of its islands."""

    step: Callable[[], None]
    processes: tuple[int, ...]


@contextmanager
def running(cluster: str | None, program: Program) -> Iterator[Running]:
    with atoll.Cluster("2 x cpu[1]", cluster=cluster) as made, Controller(program, made.shared) as controller:
        one = program.inputs[0]
        arguments = controller.put([numpy.zeros(one.shape, one.dtype)])

        def step() -> None:
            with nullcontext(controller.start(arguments)):
                controller.stats()

        yield Running(step, processes_of(made.shared))
