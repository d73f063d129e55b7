"""Runs loops and choices in which something is done for each microbatch alone.

What of a value can be put together and cut again goes in and out whole. All else stays as each microbatch has it, such
as a statistic that the way back needs, so that a loop is what it would be if it were written out.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import jax
from atoll.compiler.export.alone.values import AloneForms, AloneValue, OwnArray
from atoll.compiler.mlir.bindings import scan_counts

_Array = Any  # of jax, or a tracer
# A block: from values to what it returns of them.
Block = Callable[[list[AloneValue]], list[AloneValue]]


# A value is copied for each time that a block is traced, as it keeps the forms that are made of it there.


def run_scan(
    forms: AloneForms, params: dict[str, Any], block: Block, operands: Sequence[AloneValue]
) -> list[AloneValue]:
    """`jax.lax.scan`. block: one turn of it."""
    first, count = scan_counts(params)
    crossing = list(map(forms.crossing, operands))
    constants, carried, stacks = crossing[:first], crossing[first : first + count], crossing[first + count :]
    rows = [_row(one) for one in stacks]
    kinds, results = list(carried), list[AloneValue]()

    def turn(carry: Sequence[_Array], row: Sequence[_Array]) -> tuple[list[_Array], list[_Array]]:
        given = [*map(with_array, kinds, carry), *map(with_array, rows, row)]
        results[:] = map(forms.crossing, block([*map(replace, constants), *given]))
        arrays = list(map(array_of, [*map(forms.like, results[:count], kinds), *results[count:]]))
        return arrays[:count], arrays[count:]

    arrays = list(map(_rows_first, stacks))
    first_row = [jax.core.ShapedArray(array.shape[1:], array.dtype) for array in arrays]
    _settle(kinds, results, lambda: jax.eval_shape(partial(turn), _begin(forms, carried, kinds), first_row))
    how = {name: params[name] for name in ("length", "reverse", "unroll")}
    end, made = jax.lax.scan(partial(turn), _begin(forms, carried, kinds), arrays, **how)
    made = [_stacked(one, array, params["length"]) for one, array in zip(results[count:], made, strict=True)]
    return [*map(with_array, kinds, end), *made]


def run_while(
    forms: AloneForms, params: dict[str, Any], condition: Block, block: Block, operands: Sequence[AloneValue]
) -> list[AloneValue]:
    """`jax.lax.while_loop`; when it ends is decided for the whole batch."""
    first, second = params["cond_nconsts"], params["cond_nconsts"] + params["body_nconsts"]
    crossing = list(map(forms.crossing, operands))
    carried, results = crossing[second:], list[AloneValue]()
    kinds = list(carried)

    def goes_on(carry: Iterable[_Array]) -> _Array:
        return forms.whole(condition([*map(replace, crossing[:first]), *map(with_array, kinds, carry)])[0])

    def turn(carry: Iterable[_Array]) -> list[_Array]:
        given = [*map(replace, crossing[first:second]), *map(with_array, kinds, carry)]
        results[:] = map(forms.crossing, block(given))
        return list(map(array_of, map(forms.like, results, kinds)))

    _settle(kinds, results, lambda: jax.eval_shape(partial(turn), _begin(forms, carried, kinds)))
    return list(map(with_array, kinds, jax.lax.while_loop(goes_on, partial(turn), _begin(forms, carried, kinds))))


def run_choice(forms: AloneForms, blocks: Sequence[Block], operands: Sequence[AloneValue]) -> list[AloneValue]:
    """`jax.lax.switch`; which branch is taken is decided for the whole batch."""
    number, *given = operands
    crossing, kinds, results = list(map(forms.crossing, given)), list[AloneValue](), list[AloneValue]()
    arrays = list(map(array_of, crossing))

    def run(block: Block, *arrays: _Array) -> list[_Array]:
        results[:] = map(forms.crossing, block(list(map(with_array, crossing, arrays))))
        return list(map(array_of, map(forms.like, results, kinds or results)))

    for block in blocks:
        jax.eval_shape(partial(run, block), *arrays)
        kinds[:] = map(_settled, kinds or results, results)
    branches = [partial(run, block) for block in blocks]
    return list(map(with_array, kinds, jax.lax.switch(forms.whole(number), branches, *arrays)))


def _begin(forms: AloneForms, carried: Sequence[AloneValue], kinds: Sequence[AloneValue]) -> list[_Array]:
    return list(map(array_of, map(forms.like, carried, kinds)))


def _settle(kinds: list[AloneValue], results: Sequence[AloneValue], turn: Callable[[], object]) -> None:
    """Have what is carried in forms that stay from turn to turn. A turn that is traced has its results."""
    while True:
        turn()
        settled = list(map(_settled, kinds, results))
        if all(one is other for one, other in zip(settled, kinds, strict=True)):
            return
        kinds[:] = settled


def array_of(value: AloneValue) -> _Array:
    """The array of a value that has one."""
    if value.whole is not None:
        return value.whole
    assert value.own is not None
    return value.own.array


def with_array(value: AloneValue, array: _Array) -> AloneValue:
    """The same form, with another array. What are zeros to begin with may be others then."""
    own = None if value.whole is not None or value.own is None else OwnArray(array, value.own.axis)
    whole = array if own is None else None
    return replace(value, whole=whole, own=own, is_cotangent=value.is_cotangent or value.is_zero, is_zero=False)


def _settled(before: AloneValue, after: AloneValue) -> AloneValue:
    """The kind of what is carried, once it is known what a turn makes of it: own, if that is. It has another array."""
    form = after if before.whole is not None and after.whole is None else before
    is_cotangent = before.is_cotangent or before.is_zero or after.is_cotangent
    is_back, is_mean = before.is_back or after.is_back, before.is_mean or after.is_mean
    known = before.is_back, before.is_cotangent or before.is_zero, before.is_mean
    if form is before and (is_back, is_cotangent, is_mean) == known:
        return before
    maker = before.maker or after.maker
    return AloneValue(form.shape, form.whole, form.own, maker, is_back, is_cotangent, is_mean=is_mean)


def _row(value: AloneValue) -> AloneValue:
    """What a turn has of a stack; its array is another one."""
    own = None if value.own is None or value.whole is not None else OwnArray(value.own.array, 0)
    return replace(value, shape=value.shape[1:], own=own)


def _rows_first(value: AloneValue) -> _Array:
    array = array_of(value)
    return array if value.whole is not None else jax.numpy.moveaxis(array, 0, 1)


def _stacked(row: AloneValue, array: _Array, length: int) -> AloneValue:
    """What turns have made, one row each."""
    made = with_array(row, array)
    if made.own is not None:
        made.own = OwnArray(array, 1)
    made.shape = (length, *row.shape)
    return made
