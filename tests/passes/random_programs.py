"""Random small programs, as text that Python runs; each is named by its seed.

A program computes with small whole numbers in float64, so that every sum is exact in any order and every answer has to
be right to the last bit; or it is *smooth*: continuous functions alone, whose answers may differ by rounding.

Most are *tame*: they are steered away from mixing examples, so that they reach far into the rules. In the others one
step is not, so that it alone decides. Nothing depends on how well they are steered: a program is refused, or it is
right.
"""

import math
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy
from random_pieces import in_pieces, prepared
from random_writer import Value, Writer


@dataclass(frozen=True)
class RandomProgram:
    """text: what it does; batch: how many examples there are."""

    seed: int
    text: str
    arguments: tuple[numpy.ndarray, ...]
    batch_argnums: tuple[int, ...]
    batch: int
    microbatches: int
    smooth: bool
    tame: bool


# Each of these adds a line or two, or nothing where it finds no operand.


def unary(w: Writer) -> None:
    one = w.number()
    if one is None:
        return
    options = [("-{}", 1), ("jnp.abs({})", 1), ("{} * 2", 2), ("lax.optimization_barrier({})", 1), ("{} + 1", 2)]
    if w.smooth:
        options += [("jnp.tanh({})", 0), ("jnp.sin({})", 0), ("jnp.exp(-{} * {})", 0), ("jnp.log1p(jnp.abs({}))", 1)]
        options += [("jax.nn.sigmoid({})", 0), ("jnp.sqrt({} * {} + 1)", 1), ("jnp.square({})", one.bound)]
    else:
        options += [("jnp.square({})", one.bound), ("jnp.sign({})", 1), ("jax.nn.relu({})", 1), ("{} % 3", 1)]
        options += [("jnp.floor({} / 2)", 1), ("{}.astype(jnp.int32).astype(float)", 1), ("jnp.clip({}, -1, 2)", 1)]
    text, factor = w.random.choice(options)
    w.add(text.format(*[one.name] * 2), one, bound=max(3, one.bound * factor + 1))


def binary(w: Writer) -> None:
    one = w.number()
    other = None if one is None else w.pick(lambda other: other.kind == "f" and _fit(w, one, other))
    if one is None or other is None:
        return
    shape = numpy.broadcast_shapes(one.shape, other.shape)
    if math.prod(shape) > 600:
        return
    operator = w.random.choice(["{} + {}", "{} - {}", "{} * {}", "jnp.maximum({}, {})", "jnp.minimum({}, {})"])
    bound = one.bound * other.bound if "*" in operator else one.bound + other.bound
    pair = [one, other] if w.random.random() < 0.7 else [other, one]
    text = operator.format(pair[0].name, pair[1].name)
    examples = {"axis": _joined(one, other, shape), "blocks": _blocks(one, other)}
    w.add(text, one, shape=shape, **examples, whole=one.whole or other.whole, bound=bound)


def _fit(w: Writer, one: Value, other: Value) -> bool:
    """Whether two values may be operands: their shapes fit, and in a tame program their examples are side by side."""
    try:
        shape = numpy.broadcast_shapes(one.shape, other.shape)
    except ValueError:
        return False
    if not w.tame:
        return True
    behind = [value.axis - value.rank for value in (one, other) if value.axis is not None]
    if len(set(behind)) > 1 or (behind and (one.whole or other.whole)):
        return False
    counts = {value.blocks for value in (one, other) if value.axis is not None}
    # Nothing but the examples may spread what is one example wide.
    return not behind or (len(counts) == 1 and shape[behind[0]] % w.batch == 0)


def _blocks(one: Value, other: Value) -> int:
    """How many batches the value has that is made of two."""
    return one.blocks if one.axis is not None else other.blocks


def _joined(one: Value, other: Value, shape: Sequence[int]) -> int | None:
    behind = [value.axis - value.rank for value in (one, other) if value.axis is not None]
    return len(shape) + behind[0] if behind else None


def compare(w: Writer) -> None:
    one = w.number()
    if one is None or w.smooth:
        return
    w.add(f"{one.name} {w.random.choice(['>', '<=', '=='])} {w.random.randint(-1, 2)}", one, kind="b", bound=1)


def booleans(w: Writer) -> None:
    one = w.pick(lambda one: one.kind == "b")
    if one is None:
        return
    if w.random.random() < 0.4:
        w.add(f"~{one.name}", one)
    elif w.random.random() < 0.5:
        w.add(f"{one.name}.astype(float)", one, kind="f")
    else:
        axes = _reduced(w, one)
        w.add(f"jnp.{w.random.choice(['any', 'all'])}({one.name}, {axes})", one, **_without(one, axes))


def select(w: Writer) -> None:
    one, chooser = w.number(), w.pick(lambda one: one.kind == "b")
    if one is None or chooser is None or not _fit(w, one, chooser):
        return
    shape = numpy.broadcast_shapes(one.shape, chooser.shape)
    whole = one.whole or chooser.whole
    text = f"jnp.where({chooser.name}, {one.name}, {w.random.randint(-1, 1)})"
    examples = {"axis": _joined(one, chooser, shape), "blocks": _blocks(one, chooser)}
    w.add(text, one, shape=shape, **examples, whole=whole, bound=one.bound + 1)


def _reduced(w: Writer, one: Value) -> tuple[int, ...]:
    axes = list(range(one.rank))
    if w.random.random() < 0.6 and one.axis is not None:
        axes.remove(one.axis)
    count = w.random.randint(0, len(axes)) if w.random.random() < 0.5 else min(1, len(axes))
    return tuple(sorted(w.random.sample(axes, count)))


def _without(one: Value, axes: Sequence[int], keep: bool = False) -> dict[str, object]:
    """What a reduction changes about a value."""
    left = [axis for axis in range(one.rank) if axis not in axes]
    shape = tuple(1 if axis in axes else one.shape[axis] for axis in (range(one.rank) if keep else left))
    if one.axis is None or one.axis in axes:
        return {"shape": shape, "axis": None, "whole": one.whole or one.axis is not None}
    return {"shape": shape, "axis": one.axis if keep else left.index(one.axis)}


def reduce(w: Writer) -> None:
    one = w.number()
    if one is None:
        return
    axes, keep = _reduced(w, one), w.random.random() < 0.3
    count = math.prod(one.shape[axis] for axis in axes)
    options = ["sum", "max", "min"] + ["mean"] * (w.smooth or count in (1, 2, 4, 8))
    function = w.random.choice(options)
    text = f"jnp.{function}({one.name}, {axes}, keepdims={keep})"
    bound = one.bound * max(1, count) if function == "sum" else one.bound
    made = w.add(text, one, **_without(one, axes, keep), bound=bound)
    if w.tame and made.whole and w.random.random() < 0.6:
        w.values.remove(made)
        w.values.insert(0, made)  # it is of less use than one with examples


def matmul(w: Writer) -> None:
    one = w.pick(lambda one: one.kind == "f" and one.rank > 0)
    other = w.pick(lambda one: one.kind == "f" and one.rank > 0)
    if one is None or other is None:
        return
    if w.tame and (one.whole or other.whole) and (one.axis is not None or other.axis is not None):
        return
    letters, spare = list("abcd"[: one.rank]), iter("uvxyz")
    second, used = [], set()
    if one.rank > 4 or other.rank > 4:
        return
    for axis, size in enumerate(other.shape):
        same = [i for i, letter in enumerate(letters) if one.shape[i] == size and letter not in used]
        if w.tame:
            same = [i for i in same if (one.axis == i) == (other.axis == axis)]
            same = [i for i in same if one.axis != i or one.blocks == other.blocks]
            if one.axis is None or other.axis is None:
                same = [i for i in same if i != one.axis and axis != other.axis]
        must = w.tame and other.axis == axis and one.axis is not None
        if must and not same:
            return
        letter = letters[w.random.choice(same)] if same and (must or w.random.random() < 0.8) else next(spare)
        used.add(letter)
        second.append(letter)
    sizes = dict(zip(second, other.shape, strict=True)) | dict(zip(letters, one.shape, strict=True))
    shared = [letter for letter in letters if letter in second]
    kept = [letter for letter in sizes if letter not in shared]
    kept += [letter for letter in shared if w.random.random() < 0.4]
    w.random.shuffle(kept)
    examples = {value[at.axis] for value, at in ((letters, one), (second, other)) if at.axis is not None}
    summed = math.prod(sizes[letter] for letter in sizes if letter not in kept)
    shape = tuple(sizes[letter] for letter in kept)
    if math.prod(shape) > 600 or len(shape) > 4:
        return
    axis = next((index for index, letter in enumerate(kept) if letter in examples), None)
    whole = one.whole or other.whole or (bool(examples) and axis is None)
    text = f"jnp.einsum('{''.join(letters)},{''.join(second)}->{''.join(kept)}', {one.name}, {other.name})"
    bound = one.bound * other.bound * summed
    w.add(text, one, shape=shape, axis=axis, blocks=_blocks(one, other), whole=whole, bound=bound)


def transpose(w: Writer) -> None:
    one = w.pick(lambda one: one.rank > 1)
    if one is None:
        return
    order = w.random.sample(range(one.rank), one.rank)
    axis = None if one.axis is None else order.index(one.axis)
    w.add(f"{one.name}.transpose({order})", one, shape=tuple(one.shape[old] for old in order), axis=axis)


def reshape(w: Writer) -> None:
    one = w.pick(lambda one: one.rank > 0)
    if one is None:
        return
    made = w.random.choices([_merged, _divided, _widened], [4, 3, 3])[0](w, one)
    if made is not None:
        shape, axis, blocks = made
        w.add(f"{one.name}.reshape({shape})", one, shape=shape, axis=axis, blocks=blocks)


Reshaped = tuple[tuple[int, ...], int | None, int] | None


def _merged(w: Writer, one: Value) -> Reshaped:
    """Two dimensions become one."""
    places = [i for i in range(one.rank - 1) if not w.tame or i + 1 != one.axis or one.shape[i] * one.blocks < 9]
    if not places:
        return None
    place = w.random.choice(places)
    first, second = one.shape[place : place + 2]
    # What stands before the examples makes as many batches of them, one after another. Merged with what stands behind
    # them they stand for examples and more: tame programs take that apart again or sum it.
    blocks = one.blocks * first if one.axis == place + 1 else one.blocks
    axis = one.axis - 1 if one.axis is not None and one.axis > place else one.axis
    return (*one.shape[:place], first * second, *one.shape[place + 2 :]), axis, blocks


def _divided(w: Writer, one: Value) -> Reshaped:
    """One dimension becomes two."""
    places = [i for i, size in enumerate(one.shape) if size in (4, 6, 8, 12) and (i != one.axis or size != w.batch)]
    if not places:
        return None
    place = w.random.choice(places)
    size, axis, blocks = one.shape[place], one.axis, one.blocks
    factor = w.random.choice([f for f in range(2, size) if size % f == 0])
    if place == axis and blocks > 1:
        factor, axis, blocks = blocks, axis + 1, 1
    elif place == axis:
        factor = w.batch if size % w.batch == 0 else factor
    elif axis is not None and axis > place:
        axis += 1
    return (*one.shape[:place], factor, size // factor, *one.shape[place + 1 :]), axis, blocks


def _widened(w: Writer, one: Value) -> Reshaped:
    """A dimension of one more."""
    place = w.random.randint(0, one.rank)
    if one.rank > 3:
        return None
    axis = one.axis + 1 if one.axis is not None and one.axis >= place else one.axis
    return (*one.shape[:place], 1, *one.shape[place:]), axis, one.blocks


def broadcast(w: Writer) -> None:
    one = w.pick(lambda one: one.rank < 4 and math.prod(one.shape) < 100)
    if one is None:
        return
    shape = tuple(w.random.choice([2, 3]) if size == 1 and i != one.axis else size for i, size in enumerate(one.shape))
    size = w.batch if w.random.random() < 0.3 else w.random.choice([2, 3])
    shape = (size, *shape)
    axis = None if one.axis is None else one.axis + 1
    w.add(f"jnp.broadcast_to({one.name}, {shape})", one, shape=shape, axis=axis)


def cut(w: Writer) -> None:
    """A slice, with a stride perhaps, or an element."""
    one = w.pick(lambda one: one.rank > 0)
    axis = None if one is None else w.free_axis(one)
    if one is None or axis is None or one.shape[axis] < 2:
        return
    before = ":, " * axis
    if w.random.random() < 0.3:
        text = f"{one.name}[{before}{w.random.randrange(one.shape[axis])}]"
        w.add(text, one, **{**_without(one, (axis,)), "whole": one.whole})
        return
    start = w.random.randrange(one.shape[axis] - 1)
    stop, step = w.random.randint(start + 1, one.shape[axis]), w.random.choice([1, 1, 2])
    shape = list(one.shape)
    shape[axis] = -(-(stop - start) // step)
    w.add(f"{one.name}[{before}{start}:{stop}:{step}]", one, shape=tuple(shape))


def cut_where_told(w: Writer) -> None:
    """A slice that begins at a number that is computed; an update at such a place."""
    one = w.pick(lambda one: one.rank > 0 and one.kind == "f")
    axis = None if one is None else w.free_axis(one)
    if one is None or axis is None:
        return
    if w.random.random() < 0.5:
        size = w.random.randint(1, one.shape[axis])
        shape = (*one.shape[:axis], size, *one.shape[axis + 1 :])
        w.add(f"lax.dynamic_slice_in_dim({one.name}, number, {size}, {axis})", one, shape=shape)
    else:
        update = f"lax.slice_in_dim({one.name}, 0, 1, axis={axis}) * 2"
        text = f"lax.dynamic_update_slice_in_dim({one.name}, {update}, number, {axis})"
        w.add(text, one, bound=one.bound * 2)


def pad(w: Writer) -> None:
    one = w.pick(lambda one: one.rank > 0 and one.kind == "f" and math.prod(one.shape) < 150)
    axis = None if one is None else w.free_axis(one)
    if one is None or axis is None:
        return
    low, high, inside = w.random.choice([(1, 0, 0), (0, 2, 0), (1, 1, 1), (-1, 1, 0)])
    shape = list(one.shape)
    shape[axis] += low + high + inside * max(0, one.shape[axis] - 1)
    value = w.random.choice(["0.0", "1.0"])
    config = [(low, high, inside) if at == axis else (0, 0, 0) for at in range(one.rank)]
    w.add(f"lax.pad({one.name}, jnp.asarray({value}, float), {config})", one, shape=tuple(shape))


def concatenate(w: Writer) -> None:
    one = w.pick(lambda one: one.rank > 0 and one.kind == "f" and math.prod(one.shape) < 150)
    axis = None if one is None else w.free_axis(one)
    if one is None or axis is None:
        return

    def fits(other: Value) -> bool:
        alike = other.rank == one.rank and other.kind == "f" and other.shape[axis] < 9
        same = alike and all(a == b for i, (a, b) in enumerate(zip(one.shape, other.shape, strict=True)) if i != axis)
        fitting = (other.axis, other.whole, other.blocks) == (one.axis, one.whole, one.blocks)
        return same and (not w.tame or fitting)

    other = w.pick(fits)
    if other is None:
        return
    shape = list(one.shape)
    shape[axis] += other.shape[axis]
    examples = {"axis": one.axis if one.axis is not None else other.axis, "blocks": _blocks(one, other)}
    if axis == one.axis == other.axis:
        examples["blocks"] = one.blocks + other.blocks
    bound, whole = max(one.bound, other.bound), one.whole or other.whole
    text = f"jnp.concatenate([{one.name}, {other.name}], {axis})"
    w.add(text, one, shape=tuple(shape), **examples, bound=bound, whole=whole)


def join(w: Writer) -> None:
    """A batch behind another one, behind itself, or before what is the same for all."""
    one = w.pick(lambda one: one.kind == "f" and one.axis is not None and math.prod(one.shape) < 150)
    if one is None or one.axis is None:
        return
    own = one.shape[one.axis] // one.blocks

    def fits(other: Value) -> bool:
        is_alike = other.kind == "f" and other.axis == one.axis and other.rank == one.rank
        return is_alike and _with(other.shape, one.axis, own * other.blocks) == _with(
            one.shape, one.axis, own * other.blocks
        )

    other = w.pick(fits) or one
    count = w.random.choice([one.blocks + other.blocks, one.blocks + 1, 2 * one.blocks, 3 * one.blocks])
    if w.tame and count > 6:
        return
    shape = _with(one.shape, one.axis, own * count)
    constant = f"jnp.full({_with(one.shape, one.axis, own)}, 2.0)"
    times = [count // one.blocks if i == one.axis else 1 for i in range(one.rank)]
    if count == one.blocks + other.blocks:
        text = f"jnp.concatenate([{one.name}, {other.name}], {one.axis})"
        shape = _with(one.shape, one.axis, one.shape[one.axis] + other.shape[one.axis])
    elif count == one.blocks + 1:
        text = f"jnp.concatenate([{one.name}, {constant}], {one.axis})"
    else:
        text = f"jnp.tile({one.name}, {tuple(times)})"
    w.add(text, one, shape=shape, blocks=count, bound=max(one.bound, other.bound))


def part(w: Writer) -> None:
    """Some of the batches that lie one after another: in another order, padded, or what each example has in all."""
    one = w.pick(lambda one: one.kind == "f" and one.axis is not None and one.blocks > 1 and one.rank < 4)
    if one is None or one.axis is None:
        return
    axis, own = one.axis, one.shape[one.axis] // one.blocks
    first = w.random.randrange(one.blocks)
    last = w.random.randint(first + 1, one.blocks)
    apart = (*one.shape[:axis], one.blocks, own, *one.shape[axis + 1 :])
    padding = [(own, -own, 0) if at == axis else (0, 0, 0) for at in range(one.rank)]
    text, count = w.random.choice(
        [
            (f"lax.slice_in_dim({one.name}, {first * own}, {last * own}, axis={axis})", last - first),
            (f"{one.name}.reshape({apart})[{':, ' * axis}{first}]", 1),
            (f"jnp.flip({one.name}.reshape({apart}), {axis}).reshape({one.shape})", one.blocks),
            (f"jnp.roll({one.name}, {own}, {axis})", one.blocks),
            (f"lax.pad({one.name}, 1.0, {padding})", one.blocks),
            (f"jnp.cumsum({one.name}.reshape({apart}), {axis}).reshape({one.shape})", one.blocks),
            (f"{one.name}.reshape({apart}).sum({axis})", 1),
        ]
    )
    w.add(text, one, shape=_with(one.shape, axis, own * count), blocks=count, bound=one.bound * one.blocks)


def own_rows(w: Writer) -> None:
    """Each example, of however many batches, looked up or replaced in its own row."""
    one = w.pick(lambda one: one.kind == "f" and one.axis == 0 and one.rank == 2)
    if one is None:
        return
    size, width = one.shape
    index = f"jnp.arange({size}), (jnp.arange({size}) * 5 + number) % {width}"
    text, shape = w.random.choice([(f"{one.name}[{index}]", (size,)), (f"{one.name}.at[{index}].set(2.0)", one.shape)])
    w.add(text, one, shape=shape)


def along(w: Writer) -> None:
    """What runs along a dimension: reversed, rolled, cumulative, sorted, in windows."""
    one = w.pick(lambda one: one.rank > 0 and one.kind == "f")
    axis = None if one is None else w.free_axis(one)
    if one is None or axis is None:
        return
    size = one.shape[axis]
    window = ", ".join(["1"] * axis + ["2"] + ["1"] * (one.rank - axis - 1))
    windows = f"({window},), ({', '.join(['1'] * one.rank)},), 'SAME'"
    options = [
        ("jnp.flip({}, {axis})", 1),
        ("jnp.roll({}, 1, {axis})", 1),
        ("jnp.cumsum({}, {axis})", size),
        ("lax.cummax({}, {axis})", 1),
        ("lax.cumsum({}, {axis}, reverse=True)", size),
        (f"lax.reduce_window({{}}, 0.0, lax.add, {windows})", 2),
        (f"lax.reduce_window({{}}, -jnp.inf, lax.max, {windows})", 1),
    ]
    if w.smooth:
        options += [("jax.nn.softmax({}, {axis})", 0), ("jax.nn.logsumexp({}, {axis}, keepdims=True) + 0 * {}", 1)]
    else:
        options += [
            ("jnp.sort({}, {axis})", 1),
            ("jnp.argsort({}, {axis}).astype(float)", 0),
            ("lax.top_k(jnp.moveaxis({}, {axis}, -1), 1)[0] + 0 * jnp.moveaxis({}, {axis}, -1)", 1),
        ]
    text, factor = w.random.choice(options)
    moved = "moveaxis" in text
    shape = (*one.shape[:axis], *one.shape[axis + 1 :], size) if moved else one.shape
    examples = one.axis - 1 if moved and one.axis is not None and one.axis > axis else one.axis
    if moved and one.axis == axis:
        examples = one.rank - 1
    w.add(text.format(*[one.name] * 2, axis=axis), one, shape=shape, axis=examples, bound=one.bound * factor + size)


def argmax(w: Writer) -> None:
    one = w.pick(lambda one: one.rank > 0 and one.kind == "f")
    axis = None if one is None else w.free_axis(one)
    if one is None or axis is None or w.smooth:
        return
    text = f"jnp.arg{w.random.choice(['max', 'min'])}({one.name}, {axis})"
    w.add(text, one, **{**_without(one, (axis,)), "whole": one.whole}, kind="i", bound=one.shape[axis])


def gather(w: Writer) -> None:
    one = w.pick(lambda one: one.rank > 0 and one.kind == "f" and math.prod(one.shape) < 200)
    axis = None if one is None else w.free_axis(one)
    if one is None or axis is None:
        return
    if w.random.random() < 0.5:
        places = [w.random.randrange(one.shape[axis]) for _ in range(w.random.randint(1, 4))]
        shape = (*one.shape[:axis], len(places), *one.shape[axis + 1 :])
        w.add(f"jnp.take({one.name}, jnp.array({places}), {axis})", one, shape=shape)
        return
    places = w.pick(lambda other: other.kind == "i" and other.rank < 3)
    if places is None:
        return
    rows = f"{places.name}.astype(int) % {one.shape[axis]}"
    if one.axis is not None or (places.axis is None) == (one.axis is None):  # one row for each example
        if axis == 0 or one.axis != 0 or places.axis != 0 or places.shape != one.shape[:1]:
            return
        index = f"({rows})[{', '.join([':'] + ['None'] * (one.rank - 1))}]"
        w.add(f"jnp.take_along_axis({one.name}, {index}, {axis})", one, shape=_with(one.shape, axis, 1))
    elif not (w.tame and one.whole):
        shape = (*one.shape[:axis], *places.shape, *one.shape[axis + 1 :])
        examples = None if places.axis is None else axis + places.axis
        if math.prod(shape) < 600 and len(shape) < 5:
            w.add(f"jnp.take({one.name}, {rows}, {axis})", one, shape=shape, axis=examples)


def _with(shape: Sequence[int], axis: int, size: int) -> tuple[int, ...]:
    return (*shape[:axis], size, *shape[axis + 1 :])


def scatter(w: Writer) -> None:
    one = w.pick(lambda one: one.rank > 0 and one.kind == "f")
    axis = None if one is None else w.free_axis(one)
    if one is None or axis is None:
        return
    before = ":, " * axis
    if w.random.random() < 0.5:
        how = w.random.choice(["set(1.0)", "add(2.0)", "multiply(2.0)", "max(1.0)"])
        text = f"{one.name}.at[{before}{w.random.randrange(one.shape[axis])}].{how}"
        w.add(text, one, bound=one.bound * 2)
        return
    places = w.pick(
        lambda other: other.kind == "i" and other.shape == one.shape[: other.rank] and other.axis == one.axis
    )
    if places is None or not places.rank:
        return
    how = "add" if w.tame or w.random.random() < 0.7 else w.random.choice(["max", "set", "min"])
    shape = (5, *one.shape[places.rank :])
    text = f"jnp.zeros({shape}).at[{places.name} % 5].{how}({one.name})"
    whole = one.whole or one.axis is not None
    w.add(text, one, shape=shape, axis=None, whole=whole, bound=one.bound * math.prod(places.shape))


def made_from_nothing(w: Writer) -> None:
    """Counters, random numbers and constants, with the batch among their dimensions or not."""
    sizes = [w.batch] * (w.random.random() < 0.7) + [w.random.choice([2, 3, 4])] * (w.random.random() < 0.6)
    w.random.shuffle(sizes)
    shape = tuple(sizes)
    total = math.prod(shape)
    text, kind, bound = w.random.choice(
        [
            (f"jnp.arange({total}).reshape({shape}) % 5", "i", 5.0),
            (f"jnp.arange({total}, dtype=float).reshape({shape})", "f", float(total)),
            (f"jax.random.bits(key, {shape}) % 4", "i", 4.0),
            (f"jax.random.bernoulli(key, 0.5, {shape}).astype(float)", "f", 1.0),
            (f"(jax.random.bits(jax.random.split(key)[1], {shape}) % 4).astype(float)", "f", 4.0),
            (f"jnp.ones({shape})", "f", 1.0),
            (f"jnp.array({[w.random.randint(-2, 2) for _ in range(total)]}, float).reshape({shape})", "f", 2.0),
        ]
    )
    w.add(text, Value("", shape, kind, None, False, bound))


def scan(w: Writer) -> None:
    """Along a dimension, over parameters, or a number of times."""
    one = w.pick(lambda one: one.rank > 0 and one.kind == "f" and 0 not in one.shape)
    axis = None if one is None else w.free_axis(one)
    if one is None or axis is None:
        return
    step = w.random.choice(["c + x", "jnp.maximum(c, x)", "x - c", "jnp.clip(c * x, -3, 3)"])
    if w.smooth:
        step = w.random.choice(["jnp.tanh(c + x)", "c * 0.5 + jnp.sin(x)"])
    out = w.random.choice(["c", "x * 2", "jnp.sum(x)" if w.random.random() < 0.3 else "c + x"])
    rest = _without(one, (axis,))["shape"]
    first = w.random.choice([f"jnp.zeros({rest})", f"jnp.moveaxis({one.name}, {axis}, 0)[0]"])
    reverse = w.random.choice(["", ", reverse=True"])
    text = f"lax.scan(lambda c, x: ({step}, {out}), {first}, jnp.moveaxis({one.name}, {axis}, 0){reverse})"
    bound = one.bound * (one.shape[axis] + 1) + 3
    changes = {**_without(one, (axis,)), "whole": one.whole, "bound": bound}
    if w.random.random() < 0.5 or out == "jnp.sum(x)":
        made = w.add(f"{text}[0]", one, **changes)
        if out == "jnp.sum(x)":
            sums = {"shape": (one.shape[axis],), "axis": None, "whole": one.axis is not None or one.whole}
            w.add(f"{text}[1]", made, **sums, bound=one.bound * math.prod(one.shape))
    else:
        shape = (one.shape[axis], *changes["shape"])  # type: ignore[misc]
        examples = None if changes["axis"] is None else changes["axis"] + 1  # type: ignore[operator]
        w.add(f"{text}[1]", one, **{**changes, "shape": shape, "axis": examples})


def layers(w: Writer) -> None:
    """A loop that carries examples, a sum of them and a number; each step changes them in ways of its own."""
    one = w.pick(lambda one: one.kind == "f" and one.rank == 2 and one.axis == 0 and one.shape[1] < 9)
    if one is None:
        return
    width, chance = one.shape[1], w.random.choice
    hidden = chance(
        ["jnp.tanh(h + r)", "jnp.sin(h) + p"] if w.smooth else ["jnp.clip(h * 2 - r, -3, 3)", "-h", "h % 3"]
    )
    sums = [
        "h.sum(0)",
        "(h * p).sum(0)",
        "x0.sum(0)",
        "(h.T @ jnp.ones(h.shape[0]))",
        "jnp.cumsum(h.sum(0))",
        "h.sum() * p",
    ]
    part = chance(sums)
    total = chance(
        [
            f"s + {part}",
            f"s - {part}",
            f"{part} - s * 2",
            f"s[::-1] + {part}",
            f"jnp.where(r > 1, s, s + {part})",
            f"jnp.where(r == 1, p * jnp.ones_like(s), s + {part})",
            f"lax.cond(r > 1, lambda: s + {part}, lambda: s - p)",
            f"lax.fori_loop(0, 2, lambda j, s: s + {part} * j, s)",
            f"s.at[0].add(h.sum()) + {part}",
            f"jnp.concatenate([s[1:], h.sum()[None]]) + {part}",
            "lax.dynamic_update_slice(s + 1, h.sum()[None], (r.astype(int),))",
            f"jnp.pad(s[1:], (1, 0), constant_values=2.0) + {part}",
            "jnp.maximum(s, h.max(0))",
            "jnp.minimum(s[::-1], h.min(0))",
            f"s * (r > 1) + {part}",
        ]
    )
    if not w.tame:  # nonlinear in what is a sum, as yet of some examples alone
        total = chance(
            [
                f"jnp.abs(s) + {part}",
                f"jnp.sin(s) + {part}",
                f"{part} / (1 + s * s)",
                f"jnp.maximum(s, {part})",
                "-jnp.maximum(s, h.max(0))",
                f"s * {part}",
                f"jnp.where(s > 0, s, {part})",
                f"jnp.sort(s) + {part}",
                f"jnp.minimum(s, 3) + {part}",
                f"s + {part} + jnp.max(s)",
                f"s.astype(int).astype(float) / 2 + {part}",
            ]
        )
    also = chance(["r", "h.sum(0)", "s", "h", "h * p"])
    body = f"lambda c, p: (lambda h, s, r: (({hidden}, {total}, r + 1), {also}))(*c)"
    start = f"({one.name}, jnp.ones({width}), jnp.zeros(()))"
    text = f"(lambda x0: lax.scan({body}, {start}, jnp.arange(3.0)))({one.name})"
    loop = f"v{len(w.lines)}"
    w.lines.append(f"{loop} = {text}")
    w.add(f"{loop}[0][0]", one, bound=one.bound + 9)
    bound = 40 * (one.bound + 9) * math.prod(one.shape) * width
    w.add(f"{loop}[0][1]", one, shape=(width,), axis=None, whole=True, bound=bound)
    if also == "h * p":
        w.add(f"{loop}[1]", one, shape=(3, *one.shape), axis=1, bound=one.bound * 2 + 18)
    elif also != "r":
        w.add(f"jnp.sum({loop}[1])", one, shape=(), axis=None, whole=True, bound=bound * 3)


def meet(w: Writer) -> None:
    """Something with examples meets an array, the same for all, that is as long as the batch."""
    one = w.pick(lambda one: one.kind == "f" and one.axis is not None and one.rank < 4)
    if one is None:
        return
    total = math.prod(one.shape)
    array = w.random.choice(
        [
            f"(jnp.arange({total}) % 7)",
            f"(jnp.arange({total}) // {max(1, total // w.batch)})",
            f"(jax.random.bits(key, ({total},)) % 4)",
            f"jnp.cumsum(jnp.arange({total}) % 3)",
            f"jnp.flip(jnp.arange({total})) % 5",
            f"jnp.sort(jax.random.bits(key, ({total},)) % 4)",
            f"jnp.full(({total},), number).at[{w.random.randrange(total)}].set(3)",
            f"jnp.array({[w.random.randint(-2, 2) for _ in range(total)]})",
        ]
    )
    if w.random.random() < 0.3:
        axis = w.random.choice([one.axis, one.rank - 1])
        array = f"lax.broadcasted_iota(int, {one.shape}, {axis}) % 3"
    operator = w.random.choice(["+", "*", "-"])
    text = f"{one.name} {operator} ({array}).astype(float).reshape({one.shape})"
    w.add(text, one, bound=one.bound * (total + 7) if "cumsum" in array or "//" in array else one.bound * 7 + 7)


def normalised(w: Writer) -> None:
    """Something of every example, measured by something of all: a cheap loop before the main one, or refused."""
    one = w.pick(lambda one: one.kind == "f" and one.axis is not None)
    other = w.pick(lambda one: one.kind == "f" and one.axis is not None and one.name in "xy")
    if one is None or other is None:
        return
    total = w.random.choice([f"jnp.sum(jnp.abs({other.name}))", f"jnp.max({other.name})", f"jnp.sum({other.name} > 0)"])
    text = f"{one.name} / ({total} + 9)" if w.smooth else f"jnp.clip({one.name} * {total}, -9, 9)"
    w.add(text, one, bound=max(9.0, one.bound))


def repeat(w: Writer) -> None:
    one = w.number()
    if one is None:
        return
    body = w.random.choice(["jnp.tanh(c) + i"] if w.smooth else ["jnp.clip(c * 2 - i, -5, 5)", "-c + i", "c % 3 + i"])
    total = w.random.random() < 0.25
    if total and one.axis is not None:  # sums of examples, carried on
        text = f"lax.fori_loop(0, 3, lambda i, c: c + jnp.sum({one.name} * i), jnp.zeros(()))"
        bound = one.bound * math.prod(one.shape) * 3
        w.add(text, one, shape=(), axis=None, whole=True, bound=bound)
    else:
        times = w.random.choice(["3", "number"])
        w.add(f"lax.fori_loop(0, {times}, lambda i, c: {body}, {one.name})", one, bound=one.bound + 9)


def branch(w: Writer) -> None:
    one = w.number()
    if one is None:
        return
    text = w.random.choice(
        [
            f"lax.cond(flag, lambda c: c * 2, lambda c: c - 1, {one.name})",
            f"lax.switch(number, [lambda c: c, lambda c: -c, lambda c: c + c], {one.name})",
            f"jnp.where(flag, {one.name}, -{one.name})",
            f"jax.checkpoint(lambda c: c * c)({one.name}) - {one.name}",
        ]
    )
    w.add(text, one, bound=one.bound * (one.bound + 1) if "checkpoint" in text else one.bound * 2 + 1)


def each_example(w: Writer) -> None:
    one = w.pick(lambda one: one.kind == "f" and one.axis is not None and one.rank > 1)
    if one is None or one.axis is None or math.prod(one.shape) > 100:
        return
    rest = tuple(one.shape[axis] for axis in one.free_axes())
    inner = w.random.choice(["c * c.sum()", "jnp.outer(c.ravel(), c.ravel())[0] + c.max()", "jnp.cumsum(c, -1)"])
    if inner.startswith("jnp.outer"):
        rest = (math.prod(rest),)
    text = f"jax.vmap(lambda c: {inner}, in_axes={one.axis})({one.name})"
    bound = one.bound**2 * max(1, math.prod(rest)) + one.bound
    w.add(text, one, shape=(one.shape[one.axis], *rest), axis=0, bound=bound)


RULES: dict[Callable[[Writer], None], int] = {
    unary: 6,
    binary: 9,
    compare: 2,
    booleans: 2,
    select: 3,
    reduce: 6,
    matmul: 6,
    transpose: 3,
    reshape: 4,
    broadcast: 2,
    cut: 3,
    cut_where_told: 2,
    pad: 2,
    concatenate: 2,
    join: 4,
    part: 4,
    own_rows: 1,
    along: 5,
    argmax: 1,
    gather: 3,
    scatter: 3,
    made_from_nothing: 3,
    scan: 2,
    repeat: 2,
    layers: 3,
    normalised: 1,
    branch: 2,
    each_example: 2,
    in_pieces: 2,
    prepared: 1,
    meet: 4,
}
# Those that can mix examples.
MIXING = (
    *(binary, select, matmul, reshape, cut, cut_where_told, pad, concatenate, along, argmax, gather, scatter, scan),
    *(layers, transpose, in_pieces),
)


def random_program(seed: int) -> RandomProgram:
    """The program of a seed."""
    chance = random.Random(seed)
    batch = chance.choice([2, 4, 4, 6, 8])
    microbatches = chance.choice([count for count in range(2, batch + 1) if batch % count == 0])
    w = Writer(chance, batch, smooth=chance.random() < 0.3)
    sizes = [chance.choice([2, 3, 4, batch]) for _ in range(3)]
    shapes = {
        "w": (sizes[0], sizes[1]),
        "u": (sizes[1],),
        "x": (batch, sizes[0]),
        "y": (batch, sizes[2], sizes[1]),
        "z": (batch,),
    }
    for name, shape in shapes.items():
        axis = 0 if name in "xyz" else None
        w.values.append(Value(name, shape, "i" if name == "z" else "f", axis))
    steps = chance.randint(4, 9)
    wild = chance.randrange(steps) if chance.random() < 0.35 else None
    for step in range(steps):
        if step == wild:
            _mix(w)
        else:
            chance.choices(list(RULES), list(RULES.values()))[0](w)
    numbers = numpy.random.default_rng(seed)
    arguments = {name: _argument(numbers, name, shape, w.smooth) for name, shape in shapes.items()}
    arguments["flag"] = numpy.array(seed % 2 == 0)
    arguments["number"] = numpy.array(seed % 3)
    arguments["data"] = numpy.array([seed, 5], "uint32")
    if any("key" in line for line in w.lines):
        w.lines.insert(0, "key = jax.random.wrap_key_data(data)")
    needed = set(re.findall(r"\w+", "\n".join(w.lines))) | {"w", "x"}
    given = {name: value for name, value in arguments.items() if name in needed}
    text = _text(w, chance, list(given))
    places = tuple(index for index, name in enumerate(given) if name in "xyz")
    return RandomProgram(seed, text, tuple(given.values()), places, batch, microbatches, w.smooth, wild is None)


def _mix(w: Writer) -> None:
    """A step that may do as it likes."""
    w.tame, before = False, len(w.lines)
    for _ in range(5):
        if len(w.lines) == before:
            w.random.choice(MIXING)(w)
    w.tame = True


def _argument(numbers: numpy.random.Generator, name: str, shape: Sequence[int], smooth: bool) -> numpy.ndarray:
    if name == "z":
        return numbers.integers(0, 4, shape)
    return numbers.normal(size=shape) if smooth else numbers.integers(-2, 3, shape).astype(float)


def _apart(one: Value) -> str:
    """The value as a program returns it: with a dimension for each of the batches that lie one after another."""
    if one.axis is None or one.blocks == 1 or one.shape[one.axis] % one.blocks:
        return one.name
    own = one.shape[one.axis] // one.blocks
    return f"{one.name}.reshape({(*one.shape[: one.axis], one.blocks, own, *one.shape[one.axis + 1 :])})"


def _text(w: Writer, chance: random.Random, arguments: Sequence[str]) -> str:
    names = ", ".join(arguments)
    made = [one for one in w.values if one.name.startswith("v")] or w.values[2:3]
    used = {name for line in w.lines for name in re.findall(r"v\d+", line.partition(" = ")[2])}
    ends = [one for one in made if one.name not in used] or made
    results = chance.sample(ends, min(len(ends), 4))
    returned = ", ".join(_apart(one) for one in results)
    lines = [f"def body({names}):", *(f"    {one}" for one in w.lines), f"    return {returned},", ""]
    floats = [index for index, one in enumerate(results) if one.kind == "f"]
    is_differentiable = not any("fori_loop(0, number" in line for line in w.lines)
    if not floats or not is_differentiable or chance.random() < 0.55:
        return "\n".join([*lines, f"def program({names}):", f"    return body({names})"])
    square = "" if chance.random() < 0.5 else " ** 2"
    total = " + ".join(f"jnp.sum(results[{index}]{square})" for index in floats)
    wanted = chance.choice(["w", "x", "w x"]).split()
    places = tuple(list(arguments).index(name) for name in wanted)
    gradient = f"jax.value_and_grad(loss, {places}, has_aux=True)({names})"
    loss = [f"def loss({names}):", f"    results = body({names})", f"    return {total}, results", ""]
    return "\n".join([*lines, *loss, f"def program({names}):", f"    return {gradient}"])
