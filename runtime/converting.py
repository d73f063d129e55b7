"""What an array on islands does as a `jax.Array` does it: by becoming one, on jax's default device."""

from collections.abc import Callable, Iterator
from functools import update_wrapper
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar

import jax

if TYPE_CHECKING:
    from jax.typing import ArrayLike

_P = ParamSpec("_P")
_R = TypeVar("_R")


class _Method(Generic[_P, _R]):
    """A method of `jax.Array` under its own name, of which type checkers know what it takes and returns.

    What it is given may be on islands too.
    """

    def __init__(self, method: Callable[Concatenate[jax.Array, _P], _R]) -> None:
        self._method = method

    def __set_name__(self, owner: type, name: str) -> None:
        def convert(self: "Converting", *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 (as jax says)
            args, kwargs = in_jax((args, kwargs))
            return getattr(self.to_jax(), name)(*args, **kwargs)

        update_wrapper(convert, self._method, assigned=("__doc__",))
        convert.__name__, convert.__qualname__ = name, f"{owner.__name__}.{name}"
        setattr(owner, name, convert)

    if TYPE_CHECKING:

        def __get__(self, array: object, owner: type) -> Callable[_P, _R]: ...


class _Operator(_Method[Any, Any]):
    """A method that Python calls for an operator between two values."""

    if TYPE_CHECKING:

        def __get__(self, array: object, owner: type) -> "Callable[[ArrayLike | Converting], jax.Array]": ...


class _Property(Generic[_R]):
    """A property of `jax.Array` under its own name."""

    def __set_name__(self, owner: type, name: str) -> None:
        setattr(owner, name, property(lambda self: getattr(self.to_jax(), name), doc=getattr(jax.Array, name).__doc__))

    if TYPE_CHECKING:

        def __get__(self, array: object, owner: type) -> _R: ...


class Converting:
    """Whatever asks for numbers waits for them."""

    def to_jax(self) -> jax.Array:
        """A copy as a `jax.Array` on jax's default device; later donations do not touch it."""
        raise NotImplementedError

    def _number(self) -> Any:  # noqa: ANN401 (what Python makes a number of)
        """What stands for it where Python asks for one number."""
        return self.to_jax()

    T: _Property[jax.Array] = _Property()
    mT: _Property[jax.Array] = _Property()  # noqa: N815 (jax's name)
    real: _Property[jax.Array] = _Property()
    imag: _Property[jax.Array] = _Property()
    flat: _Property[Any] = _Property()
    at: _Property[Any] = _Property()

    all = _Method(jax.Array.all)
    any = _Method(jax.Array.any)
    argmax = _Method(jax.Array.argmax)
    argmin = _Method(jax.Array.argmin)
    argpartition = _Method(jax.Array.argpartition)
    argsort = _Method(jax.Array.argsort)
    astype = _Method(jax.Array.astype)
    byteswap = _Method(jax.Array.byteswap)
    choose = _Method(jax.Array.choose)
    clip = _Method(jax.Array.clip)
    compress = _Method(jax.Array.compress)
    conj = _Method(jax.Array.conj)
    conjugate = _Method(jax.Array.conjugate)
    cumprod = _Method(jax.Array.cumprod)
    cumsum = _Method(jax.Array.cumsum)
    diagonal = _Method(jax.Array.diagonal)
    dot = _Method(jax.Array.dot)
    flatten = _Method(jax.Array.flatten)
    item = _Method(jax.Array.item)
    max = _Method(jax.Array.max)
    mean = _Method(jax.Array.mean)
    min = _Method(jax.Array.min)
    nonzero = _Method(jax.Array.nonzero)
    prod = _Method(jax.Array.prod)
    ptp = _Method(jax.Array.ptp)
    ravel = _Method(jax.Array.ravel)
    repeat = _Method(jax.Array.repeat)
    reshape = _Method(jax.Array.reshape)
    round = _Method(jax.Array.round)
    searchsorted = _Method(jax.Array.searchsorted)
    sort = _Method(jax.Array.sort)
    squeeze = _Method(jax.Array.squeeze)
    std = _Method(jax.Array.std)
    sum = _Method(jax.Array.sum)
    swapaxes = _Method(jax.Array.swapaxes)
    take = _Method(jax.Array.take)
    to_device = _Method(jax.Array.to_device)
    trace = _Method(jax.Array.trace)
    transpose = _Method(jax.Array.transpose)
    var = _Method(jax.Array.var)
    view = _Method(jax.Array.view)

    __getitem__ = _Method(jax.Array.__getitem__)
    __round__ = _Method(jax.Array.__round__)
    __neg__ = _Method(jax.Array.__neg__)
    __pos__ = _Method(jax.Array.__pos__)
    __abs__ = _Method(jax.Array.__abs__)
    __invert__ = _Method(jax.Array.__invert__)

    __lt__ = _Operator(jax.Array.__lt__)
    __le__ = _Operator(jax.Array.__le__)
    __eq__ = _Operator(jax.Array.__eq__)  # type: ignore[assignment] # as of other arrays, it compares elements
    __ne__ = _Operator(jax.Array.__ne__)  # type: ignore[assignment]
    __gt__ = _Operator(jax.Array.__gt__)
    __ge__ = _Operator(jax.Array.__ge__)
    __hash__ = None  # type: ignore[assignment] # for the same reason

    __add__ = _Operator(jax.Array.__add__)
    __sub__ = _Operator(jax.Array.__sub__)
    __mul__ = _Operator(jax.Array.__mul__)
    __matmul__ = _Operator(jax.Array.__matmul__)
    __truediv__ = _Operator(jax.Array.__truediv__)
    __floordiv__ = _Operator(jax.Array.__floordiv__)
    __mod__ = _Operator(jax.Array.__mod__)
    __divmod__ = _Method(jax.Array.__divmod__)
    __pow__ = _Operator(jax.Array.__pow__)
    __lshift__ = _Operator(jax.Array.__lshift__)
    __rshift__ = _Operator(jax.Array.__rshift__)
    __and__ = _Operator(jax.Array.__and__)
    __xor__ = _Operator(jax.Array.__xor__)
    __or__ = _Operator(jax.Array.__or__)

    __radd__ = _Operator(jax.Array.__radd__)
    __rsub__ = _Operator(jax.Array.__rsub__)
    __rmul__ = _Operator(jax.Array.__rmul__)
    __rmatmul__ = _Operator(jax.Array.__rmatmul__)
    __rtruediv__ = _Operator(jax.Array.__rtruediv__)
    __rfloordiv__ = _Operator(jax.Array.__rfloordiv__)
    __rmod__ = _Operator(jax.Array.__rmod__)
    __rdivmod__ = _Method(jax.Array.__rdivmod__)
    __rpow__ = _Operator(jax.Array.__rpow__)
    __rlshift__ = _Operator(jax.Array.__rlshift__)
    __rrshift__ = _Operator(jax.Array.__rrshift__)
    __rand__ = _Operator(jax.Array.__rand__)
    __rxor__ = _Operator(jax.Array.__rxor__)
    __ror__ = _Operator(jax.Array.__ror__)

    # What `jax.Array` itself does not have, only the arrays that are of its kind.

    def tolist(self) -> Any:  # noqa: ANN401 (a Python number, or lists of them)
        return self.to_jax().tolist()

    def tobytes(self, order: str = "C") -> bytes:
        return self.to_jax().tobytes(order)

    def __iter__(self) -> Iterator[jax.Array]:
        return iter(self.to_jax())

    def __reversed__(self) -> Iterator[jax.Array]:
        return reversed(self.to_jax())

    def __contains__(self, value: Any) -> bool:  # noqa: ANN401 (whatever jax takes)
        return in_jax(value) in self.to_jax()

    def __float__(self) -> float:
        return float(self._number())

    def __int__(self) -> int:
        return int(self._number())

    def __complex__(self) -> complex:
        return complex(self._number())

    def __bool__(self) -> bool:
        return bool(self._number())

    def __index__(self) -> int:
        return self.to_jax().__index__()


def in_jax(tree: Any) -> Any:  # noqa: ANN401 (any pytree)
    """A pytree whose arrays on islands have become a `jax.Array` each; what else is in it stays what it is."""
    return jax.tree.map(lambda leaf: leaf.to_jax() if isinstance(leaf, Converting) else leaf, tree)
