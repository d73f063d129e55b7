"""An argument of a step that a function of the user's gives: what stands for it on its way to the islands."""

import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from io import BytesIO
from types import FunctionType
from typing import Any

from atoll.compiler.errors import AtollError, UsageError

# From the step, and from where to where along the batch, to these examples.
Function = Callable[[int, int, int], Any]


@dataclass(frozen=True, slots=True)
class Fed:
    """Stands for each leaf of the argument.

    fn: the function; for a process of another's, by its name, as bytes: it is imported there when it is called.
    name, where: the function's, for messages.
    argument: its name. first, stop: which of the program's inputs are its leaves.
    """

    fn: Function | bytes
    name: str
    where: str
    argument: str
    first: int
    stop: int

    @property
    def function(self) -> Function:
        """What is called; AtollError if it cannot be imported here."""
        if not isinstance(self.fn, bytes):
            return self.fn
        try:
            return _imported(self.fn)
        except Exception as error:
            what = f"{self.name} cannot be imported in the process of an island: {type(error).__name__}: {error}"
            raise AtollError(what, self.where, "put it into a module that can be imported there") from None


def for_processes(arguments: Sequence[Any]) -> list[Any]:
    """The same arguments, with functions as bytes; UsageError for a function that no other process can import."""
    # Of leaves of one argument one object, which then travels once.
    packed = {id(one): _for_process(one) for one in arguments if isinstance(one, Fed)}
    return [packed.get(id(one), one) for one in arguments]


def _for_process(fed: Fed) -> Fed:
    content = BytesIO()
    try:
        _Packing(content, protocol=5).dump(fed.fn)
    except _UnknownName as found:
        raise UsageError(f"{found}", found.where or fed.where, found.remedy) from None
    except Exception as error:
        what = f"{fed.name} cannot be given to the processes of islands: {error}"
        remedy = "use a function from the top of a module, and no lambda"
        raise UsageError(what, fed.where, remedy) from None
    return replace(fed, fn=content.getvalue())


class _UnknownName(Exception):  # noqa: N818 (no error of anybody's: it ends the pickling)
    """A function or class that other processes know by no name.

    where: its line. It need not be the one that is called: what that is bound to travels too.
    """

    def __init__(self, found: FunctionType | type, what: str, remedy: str) -> None:
        super().__init__(f"{found.__name__} {what}")
        self.remedy = remedy
        code = getattr(found, "__code__", None)
        self.where = "" if code is None else f"{code.co_filename}:{code.co_firstlineno}"


class _Packing(pickle.Pickler):
    def reducer_override(self, one: Any) -> Any:  # noqa: ANN401 (as pickle says)
        if not isinstance(one, (FunctionType, type)):
            return NotImplemented
        if one.__module__ == "__main__":
            what = "is defined in the file that was run, which the processes of islands cannot import"
            raise _UnknownName(one, what, "put it into a module of its own, and import that")
        if isinstance(one, FunctionType) and "<" in one.__qualname__:
            what = "cannot be given to the processes of islands, which import functions by their names"
            raise _UnknownName(one, what, "use a function from the top of a module, and no lambda")
        return NotImplemented


@lru_cache(maxsize=16)
def _imported(content: bytes) -> Function:
    """Once, as what it has learned of its files is to be there in the next step too."""
    found: Function = pickle.loads(content)
    return found
