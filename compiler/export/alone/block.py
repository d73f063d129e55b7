"""Runs a function as jax traced it, with some of its scopes done for each microbatch alone."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import numpy
from atoll.compiler.errors import CompileError
from atoll.compiler.export.alone.linear import gives_zeros, has_seed, is_linear
from atoll.compiler.export.alone.loops import Block, run_choice, run_scan, run_while
from atoll.compiler.export.alone.order import check_order
from atoll.compiler.export.alone.pairs import TracedPair, is_float, line_of
from atoll.compiler.export.alone.scopes import AloneScopes, NameStack, stack_of
from atoll.compiler.export.alone.values import AloneForms, AloneValue, NoForm, OwnArray
from atoll.compiler.mlir.bindings import is_literal, run_equation, traced_as

_Equation = Any  # of jax
_Variable = Any
_Array = Any

_REMEDY = "let the patterns of per_microbatch match no more than what is to see a microbatch alone"

# What only groups operations, or says how to take their gradient, which has been taken by now: done one by one.
_GROUPS = frozenset(("closed_call", "core_call", "custom_jvp_call", "custom_vjp_call", "jit", "pjit"))
_CROSSED = frozenset(("cond", "scan", "while"))
_REMATERIALISES = frozenset(("checkpoint", "remat", "remat2"))


@dataclass
class AloneBlock:
    """Runs the operations of a block; with tracers, that writes them anew.

    stack: the name stack of what the block is in.
    named: as much of it as jax does not add to what is traced here.
    line: the user's line of what the block is in; what jax has traced once for many callers has none of its own.
    """

    scopes: AloneScopes
    forms: AloneForms
    stack: NameStack = None
    named: NameStack = None
    line: str = ""
    _values: dict[_Variable, AloneValue] = field(default_factory=dict)

    def run(self, pair: TracedPair, arguments: Sequence[AloneValue]) -> list[AloneValue]:
        """What the block returns, in the forms in which it is there."""
        constants = zip(pair.whole.constvars, pair.whole_constants, pair.own_constants, strict=True)
        self._values.update((one, AloneValue(one.aval.shape, whole, OwnArray(own))) for one, whole, own in constants)
        self._values.update(zip(pair.whole.invars, arguments, strict=True))
        for one, other in pair.equations():
            self.scopes.see(one, self.stack)
            self._values.update(zip(one.outvars, self._results(pair, one, other), strict=True))
        return self._read(pair.whole.outvars, pair.own.outvars)

    def _read(self, variables: Sequence[_Variable], own: Sequence[_Variable]) -> list[AloneValue]:
        return [
            AloneValue(one.aval.shape, one.val, OwnArray(other.val), is_zero=is_float(one) and not one.val)
            if is_literal(one)
            else self._values[one]
            for one, other in zip(variables, own, strict=True)
        ]

    def whole(self, value: AloneValue, taker: _Equation = None) -> _Array:
        """The value, whole; CompileError if all that microbatches have of it makes no whole."""
        try:
            return self.forms.whole(value)
        except NoForm as problem:
            raise self._refusal(value.maker or taker, problem) from None

    def _results(self, pair: TracedPair, one: _Equation, other: _Equation) -> list[AloneValue]:
        operands = self._read(one.invars, other.invars)
        if not self.scopes.reaches(one, self.stack):
            if one.primitive.name == "add_any" and any(map(self.forms.is_only_own, operands)):
                # What comes back to a value from all that has taken it, some of which may be outside of the scope.
                return self._own_results(one, other, operands)
            wholes = [self.whole(value, one) for value in operands]
            made = run_equation(one, self.named, _variables(one, wholes))
            results = self._followed(one, operands, [OwnArray(array) for array in made], is_whole=True)
            return self._with_means(one, operands, results)
        name, blocks = one.primitive.name, pair.within(one, other)
        if name in _GROUPS:
            return self._inside(one, stack_of(self.named, one)).run(blocks[0], operands)
        if name in _REMATERIALISES:
            return self._rematerialised(blocks[0], one, operands)
        is_alone = self.scopes.has(one, self.stack)
        try:
            if name in _CROSSED and not (is_alone and _is_of_examples(one, other, operands)):
                return self._crossed(one, blocks, operands)
            if is_alone:
                check_order(self.forms, pair, one, other)
                return self._alone(one, other, operands)
        except NoForm as problem:
            raise self._refusal(one, problem) from None
        raise self._refusal(one, "has operations of the scope in it")

    def _inside(self, equation: _Equation, named: NameStack = None) -> "AloneBlock":
        return AloneBlock(self.scopes, self.forms, stack_of(self.stack, equation), named, self._line_of(equation))

    def _line_of(self, equation: _Equation) -> str:
        return line_of(equation) or self.line

    def _refusal(self, equation: _Equation | None, problem: object, remedy: str = _REMEDY) -> CompileError:
        name = "a result" if equation is None else equation.primitive.name
        what = f"per_microbatch cannot have it done for each microbatch alone: {name} {problem}"
        return CompileError(what, self.line if equation is None else self._line_of(equation), remedy)

    def _alone(self, one: _Equation, other: _Equation, operands: Sequence[AloneValue]) -> list[AloneValue]:
        """An operation of a scope, done for each microbatch as jax traced it for one."""
        self.scopes.count(one, self.stack, self._line_of(one))
        return self._own_results(one, other, operands)

    def _own_results(self, one: _Equation, other: _Equation, operands: Sequence[AloneValue]) -> list[AloneValue]:
        is_back = self.scopes.is_way_back(one, self.stack)
        if is_back and not is_linear(one.primitive.name, operands, list(map(is_float, one.invars))):
            raise self._refusal(one, "is not known to be linear on the way back of a gradient")
        pairs = zip(operands, other.invars, strict=True)
        with traced_as(one, self.named):  # what is cut out here is asked for here
            owns = [self.forms.own(value, variable.aval.shape, is_back=is_back) for value, variable in pairs]
        self._check_means(one, operands, owns)
        taken = _variables(other, owns)
        arrays, axes = [own.array for own in taken], [own.axis for own in taken]

        def run(*arrays: _Array) -> list[_Array]:
            return run_equation(other, self.named, arrays)

        if all(axis is None for axis in axes):
            return self._followed(one, operands, [OwnArray(array) for array in run(*arrays)])
        made = jax.vmap(run, in_axes=tuple(axes), out_axes=0)(*arrays)
        return self._followed(one, operands, [OwnArray(array, 0) for array in made])

    def _check_means(self, one: _Equation, operands: Sequence[AloneValue], owns: Sequence[OwnArray]) -> None:
        """Refuse a mean that comes back into a scope: a derivative there need not show that it has been outside."""
        comes_back = any(value.is_mean and own.axis is None for value, own in zip(operands, owns, strict=True))
        if comes_back and self.scopes.is_differentiated(one, self.stack):
            problem = "takes a mean over the microbatches that was changed outside, as a derivative need not show"
            raise self._refusal(one, problem, "have that done within what the patterns of per_microbatch match")

    def _with_means(
        self, one: _Equation, operands: Sequence[AloneValue], results: Sequence[AloneValue]
    ) -> list[AloneValue]:
        """The results of an operation outside of the scopes. Where it adds a number to a mean, or has a rule of the
        user's, a derivative need have nothing in its place, unless the result has another shape."""
        is_back = self.scopes.is_way_back(one, self.stack)
        pairs = zip(operands, one.invars, strict=True)
        means = {
            tuple(value.shape)
            for value, variable in pairs
            if is_float(variable) and not value.is_back and (value.is_mean or self.forms.is_only_own(value))
        }
        return [replace(value, is_mean=not is_back and tuple(value.shape) in means) for value in results]

    def _followed(
        self, equation: _Equation, operands: Sequence[AloneValue], made: Sequence[OwnArray], *, is_whole: bool = False
    ) -> list[AloneValue]:
        """The results of an operation, with what is known of them."""
        is_back = self.scopes.is_way_back(equation, self.stack)
        follows = any(one.is_cotangent for one in operands)
        is_seed, is_zero = not follows and has_seed(equation, operands), gives_zeros(equation.primitive.name, operands)
        results = []
        for variable, own in zip(equation.outvars, made, strict=True):
            is_cotangent = is_back and is_float(variable) and (follows or is_seed)
            if is_seed and is_cotangent and not is_zero and not is_whole:
                own = OwnArray(own.array / self.forms.parts, own.axis)
            flags = is_back, is_cotangent, is_zero
            if is_whole:
                results.append(AloneValue(variable.aval.shape, own.array, None, None, *flags))
            else:
                results.append(AloneValue(variable.aval.shape, None, own, equation, *flags))
        return results

    def _crossed(
        self, one: _Equation, blocks: Sequence[TracedPair], operands: Sequence[AloneValue]
    ) -> list[AloneValue]:
        """A loop or a choice, with operations of a scope in its blocks."""

        def within(pair: TracedPair) -> Block:
            return lambda values: self._inside(one).run(pair, values)

        name, params = one.primitive.name, one.params
        with traced_as(one, self.named):
            if name == "scan":
                return run_scan(self.forms, params, within(blocks[0]), operands)
            if name == "while":
                return run_while(self.forms, params, within(blocks[1]), within(blocks[0]), operands)
            return run_choice(self.forms, list(map(within, blocks)), operands)

    def _rematerialised(self, block: TracedPair, one: _Equation, operands: Sequence[AloneValue]) -> list[AloneValue]:
        """What is computed again on the way back, which XLA must not take from the way forward."""
        results: list[AloneValue] = []
        leaves, structure = jax.tree.flatten(list(map(self._arrays, operands)))

        def run(*arrays: _Array) -> list[_Array]:
            given = map(_with_arrays, operands, jax.tree.unflatten(structure, arrays))
            results[:] = self._inside(one).run(block, list(given))
            return jax.tree.leaves(list(map(self._arrays, results)))

        with traced_as(one, self.named):
            closed = jax.make_jaxpr(run)(*leaves)
            # A block of this kind takes its constants as arguments.
            taken = [*closed.jaxpr.constvars, *closed.jaxpr.invars]
            params = {**one.params, "jaxpr": closed.jaxpr.replace(constvars=[], invars=taken)}
            made = one.primitive.bind(*closed.consts, *leaves, **params)
        rebuilt = jax.tree.unflatten(jax.tree.structure(list(map(self._arrays, results))), made)
        return list(map(_with_arrays, results, rebuilt))

    def _arrays(self, value: AloneValue) -> dict[str, _Array]:
        """The arrays of a value: the whole if what is own can be cut out of it again; both of a constant."""
        is_own = value.whole is None or self.forms.is_only_own(value)
        arrays = {} if is_own else {"whole": value.whole}
        if value.own is not None and (is_own or value.own.axis is None):
            arrays["own"] = value.own.array
        return arrays


def _is_of_examples(one: _Equation, other: _Equation, operands: Sequence[AloneValue]) -> bool:
    """Whether the examples decide how often a loop of a scope turns, or what is chosen: each microbatch for itself."""
    both = [(value.whole, value.own.array) for value in operands if _is_constant(value) and value.own]
    if any(not numpy.array_equal(*pair) for pair in both):
        return True
    if one.primitive.name == "scan":
        return bool(one.params["length"] != other.params["length"])
    return one.primitive.name == "while" or operands[0].whole is None


def _is_constant(value: AloneValue) -> bool:
    """Whether it is a number in the program, perhaps another one for the examples of one microbatch."""
    return value.own is not None and value.own.axis is None and not isinstance(value.own.array, jax.core.Tracer)


def _with_arrays(value: AloneValue, arrays: dict[str, _Array]) -> AloneValue:
    own = OwnArray(arrays["own"], value.own.axis) if "own" in arrays and value.own is not None else None
    return replace(value, whole=arrays.get("whole"), own=own)


def _variables(equation: _Equation, values: Sequence[Any]) -> list[Any]:
    """Of the operands of an operation those that are no numbers in the program, each once."""
    operands = zip(equation.invars, values, strict=True)
    return list({one: value for one, value in operands if not is_literal(one)}.values())
