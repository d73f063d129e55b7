"""What is to be compiled: a function with its example arguments."""

import inspect
import operator
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from atoll.compiler.errors import CompileError, with_article
from atoll.compiler.tracebacks import caller

Argnums = int | Iterable[int]


class Job:
    """A function, its example arguments, and what is known about them.

    args: arrays, `jax.ShapeDtypeStruct`s or Python scalars, in any pytrees; static arguments as they are.
    batch_argnums: arguments in which every leaf has the batch on axis 0.
    batch_axes: instead, if some leaf has it elsewhere or not at all: for each argument an axis, None for no batch, or a
        pytree prefix of these, as `in_axes` of `jax.vmap`.
    donate_argnums: arguments whose buffers the step may reuse, as in `jax.jit`.
    static_argnums: arguments that are compiled in, as in `jax.jit`.
    in_shardings, out_shardings: pytree prefixes of `PartitionSpec` or `NamedSharding`, as in `jax.jit`, by the axes of
        the islands' meshes. An argument that has none is as its example; a result that has none is replicated.

    The mesh that is set with `jax.set_mesh` where the job is made is the mesh that the function is written for.
    """

    def __init__(
        self,
        fn: Callable[..., Any],
        *args: Any,  # noqa: ANN401 (any pytree)
        batch_argnums: Argnums = (),
        batch_axes: Any = None,  # noqa: ANN401 (a pytree prefix)
        donate_argnums: Argnums = (),
        static_argnums: Argnums = (),
        in_shardings: Any = None,  # noqa: ANN401 (a pytree of shardings)
        out_shardings: Any = None,  # noqa: ANN401 (as above)
    ) -> None:
        import jax  # here, as `import atoll` loads nothing heavy

        self.where = caller()
        if not callable(fn):
            raise CompileError(
                f"a job needs a function, not {type(fn).__name__}", self.where, "pass the function first"
            )
        self.fn = fn
        self.args = args
        self.in_shardings = in_shardings
        self.out_shardings = out_shardings
        self.mesh = jax.sharding.get_abstract_mesh()
        self.static_argnums = self._argnums("static_argnums", static_argnums)
        self.batch_axes = self._batch_axes(self._argnums("batch_argnums", batch_argnums), batch_axes)
        self.donate_argnums = self._argnums("donate_argnums", donate_argnums)
        self._check_not_static("donate_argnums", self.donate_argnums)
        self._check_static_are_hashable()

    @property
    def name(self) -> str:
        """The function's name, for messages."""
        return getattr(self.fn, "__name__", type(self.fn).__name__)

    def argument_names(self) -> list[str]:
        """The names that the function has for its arguments: `state`, `batch`, `rest[0]`."""
        return list(self._argument_names())

    def _argument_names(self) -> Iterator[str]:
        try:
            parameters = list(inspect.signature(self.fn).parameters.values())
        except (ValueError, TypeError):  # builtins have none
            parameters = []
        positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        rest = next((p.name for p in parameters if p.kind is p.VAR_POSITIONAL), "args")
        for index in range(len(self.args)):
            beyond = index - len(positional)
            yield positional[index].name if beyond < 0 else f"{rest}[{beyond}]"

    def _argnums(self, name: str, value: Argnums) -> tuple[int, ...]:
        """The argument numbers as a tuple without negative ones, each known to exist."""
        numbers = tuple(value) if isinstance(value, Iterable) else (value,)
        try:
            if any(isinstance(number, bool) for number in numbers):
                raise TypeError  # to Python True is an int, but nobody who writes it means a number
            indices = [operator.index(number) for number in numbers]
        except TypeError:
            what = f"{name} must be argument numbers, not {value!r}"
            raise CompileError(what, self.where, "write a whole number or a tuple of them") from None
        count = len(self.args)
        for index in indices:
            if not -count <= index < count:
                what = f"{name} has {index}, but {self.name} is given {count} arguments"
                raise CompileError(what, self.where, "arguments are numbered from 0")
        return tuple(sorted({index % count for index in indices}))

    def _batch_axes(self, argnums: tuple[int, ...], axes: Any) -> tuple[Any, ...]:  # noqa: ANN401 (a pytree prefix)
        """What the user says of each argument: an axis, None, or a pytree prefix of these."""
        if axes is None:
            self._check_not_static("batch_argnums", argnums)
            return tuple(0 if number in argnums else None for number in range(len(self.args)))
        if argnums:
            what, remedy = "batch_argnums and batch_axes are both given", "write 0 in batch_axes for batch_argnums"
            raise CompileError(what, self.where, remedy)
        if not isinstance(axes, (tuple, list)):
            return tuple(None if number in self.static_argnums else axes for number in range(len(self.args)))
        if len(axes) != len(self.args):
            what = f"batch_axes has {len(axes)} entries, but {self.name} is given {len(self.args)} arguments"
            raise CompileError(what, self.where, "write one for each argument, None for those without a batch")
        given = tuple(number for number, axis in enumerate(axes) if axis is not None)
        self._check_not_static("batch_axes", given)
        return tuple(axes)

    def _check_not_static(self, name: str, numbers: tuple[int, ...]) -> None:
        both = sorted(set(numbers) & set(self.static_argnums))
        if both:
            what = f"argument {both[0]} is in static_argnums and in {name}"
            raise CompileError(what, self.where, "a static argument is compiled in; take it out of one of them")

    def _check_static_are_hashable(self) -> None:
        for index in self.static_argnums:
            try:
                hash(self.args[index])
            except TypeError:
                what = f"static argument {index} is {with_article(type(self.args[index]).__name__)}, which has no hash"
                raise CompileError(
                    what, self.where, "make it hashable, such as a tuple or a frozen dataclass"
                ) from None
