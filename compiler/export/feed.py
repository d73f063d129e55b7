"""`atoll.Feed`: the examples of a batch argument, given where they are needed."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

from atoll.compiler.errors import UsageError
from atoll.compiler.tracebacks import caller
from atoll.runtime.fed import Fed


class Feed:
    """Stands for a batch argument of a compiled step: `step(state, atoll.Feed(load))`.

    Whoever has an island that needs examples of the argument calls `load(step, start, stop)`, in the island's own
    process if it has one. It returns the examples `start` up to `stop` of the whole batch: a pytree like the argument,
    with numpy or jax arrays that have so many examples on axis 0. So no example goes through the caller.

    step: the number of the call of this program, from 0; a call that is refused is none. A program that is compiled or
        loaded again counts from 0 again.
    start, stop: what is needed in one piece: such as one microbatch, or what one replica has of it.

    - An island asks once for a range, however many leaves it needs of it; an island that needs none does not ask.
    - Several islands that need the same examples each ask for them. So what `load` returns must follow from its
      arguments alone; and it may be called from several threads.
    - It is called ahead, for each step that was asked for, on a thread of its own. Two steps may be under way.
    - What it raises, or returns wrong, is raised by the results of that step; the next steps are not touched. But an
      island that several processes share is lost: they do not ask each other whether all of them have examples.
    - Where islands have processes of their own, it has to be a function that they can import: from the top of a module,
      and not of the file that was run. What it is bound to, as by `functools.partial`, goes along with every call.
    """

    def __init__(self, load: Callable[[int, int, int], Any]) -> None:
        if not callable(load):
            raise UsageError(
                f"a feed needs a function, not {type(load).__name__}",
                caller(),
                "write atoll.Feed(load), where load(step, start, stop) returns examples",
            )
        self._load = load
        self._name, self._where = _described(load)

    def fed(self, argument: str, first: int, stop: int) -> Fed:
        """For an argument whose leaves are these of the program's inputs."""
        return Fed(self._load, self._name, self._where, argument, first, stop)


def _described(load: Any) -> tuple[str, str]:  # noqa: ANN401 (whatever can be called)
    """The name of a function, and its `file:line`; of an object that can be called, those of its class and method."""
    while isinstance(load, functools.partial):
        load = load.func
    function = inspect.unwrap(load if hasattr(load, "__name__") else type(load).__call__)
    code = getattr(function, "__code__", None)
    name = getattr(load, "__name__", type(load).__name__)
    return name, f"{code.co_filename}:{code.co_firstlineno}" if code is not None else ""
