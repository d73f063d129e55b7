"""The examples that a function of the user's gives: which are needed, whether they are as they should be, their parts.

Pure.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy
from atoll.compiler.errors import AtollError
from atoll.runtime.fed import Fed
from atoll.runtime.program import Division, Input, Program
from atoll.runtime.transport import plain

Index = tuple[slice, ...]


@dataclass(frozen=True)
class Needed:
    """A buffer needs these examples of an input: from where to where along the batch, and what of them."""

    leaf: int
    start: int
    stop: int
    index: Index


@dataclass(frozen=True, eq=False)
class Question:
    """What a function is asked for: examples of a step, for so many buffers of an island."""

    fed: Fed
    step: int
    start: int
    stop: int
    buffers: Mapping[int, Needed]

    def __str__(self) -> str:
        return f"{self.fed.name}, asked for examples {self.start}..{self.stop} of step {self.step},"


def needs_of(program: Program, island: str) -> dict[int, Needed]:
    """What each buffer of an island needs that is an argument with a batch."""
    found = {}
    for leaf, one in enumerate(program.inputs):
        if one.shape:
            division = program.division(one)
            for part, copies in enumerate(one.places):
                found.update({number: _needed(leaf, one, division, part) for name, number in copies if name == island})
    return found


def _needed(leaf: int, one: Input, division: Division, part: int) -> Needed:
    if not division.boxes:
        return Needed(leaf, 0, one.shape[0], ())
    (start, stop), *_ = division.boxes[part]
    # Along the batch it is cut by whoever gives it.
    others = any(dimension > 0 for dimension in division.dimensions)
    return Needed(leaf, start, stop, (slice(None), *division.indices[part][1:]) if others else ())


def questions(step: int, fed: Mapping[int, Fed], needs: Mapping[int, Needed]) -> list[Question]:
    """One for each argument and for each range of examples, whatever leaves and buffers need it."""
    found: dict[tuple[int, int, int], dict[int, Needed]] = {}
    for number, one in fed.items():
        needed = needs[number]
        found.setdefault((one.first, needed.start, needed.stop), {})[number] = needed
    return [
        Question(fed[next(iter(buffers))], step, start, stop, buffers)
        for (_, start, stop), buffers in sorted(found.items(), key=lambda item: item[0])
    ]


def checked(question: Question, inputs: Sequence[Input], examples: Any) -> list[Any]:  # noqa: ANN401 (a pytree)
    """The leaves of what a function has returned; AtollError unless they are what the program takes."""
    fed = question.fed
    expected = inputs[fed.first : fed.stop]
    found = [
        (fed.argument + jax.tree_util.keystr(path), leaf)
        for path, leaf in jax.tree_util.tree_flatten_with_path(examples)[0]
    ]
    if [one.path for one in expected] == [fed.argument] and not jax.tree_util.all_leaves([examples]):
        what = f"{question} returned a {type(examples).__name__}"
        raise AtollError(what, fed.where, f"return an array of {expected[0].dtype}")
    if (told := _other_leaves([one.path for one in expected], [path for path, _ in found])) is not None:
        raise AtollError(f"{question} returned {told}", fed.where, "return a pytree like the argument")
    leaves = []
    for one, (_, leaf) in zip(expected, found, strict=True):
        shape = (question.stop - question.start, *one.shape[1:])
        if not _is_like(leaf, shape, one.dtype):
            what = f"{question} returned {one.path} as {_described(leaf)}"
            raise AtollError(what, fed.where, f"return an array of {one.dtype}{list(shape)}")
        leaves.append(plain(one, leaf))
    return leaves


def part_of(leaf: Any, needed: Needed) -> Any:  # noqa: ANN401 (a jax.Array or a numpy array)
    """What a buffer holds of a leaf."""
    return leaf[needed.index] if needed.index else leaf


def _other_leaves(expected: Sequence[str], found: Sequence[str]) -> str | None:
    """What is wrong with the paths of the leaves, if anything is."""
    if (missing := next((path for path in expected if path not in found), None)) is not None:
        return f"no {missing}"
    if (added := next((path for path in found if path not in expected), None)) is not None:
        return f"{added}, which the step does not take"
    return None if expected == found else f"its leaves in another order, with {found[0]} first"


def _is_like(leaf: Any, shape: tuple[int, ...], dtype: str) -> bool:  # noqa: ANN401 (whatever the user gave)
    its = _shape_and_dtype(leaf)
    if its is None or its[0] != shape:
        return False
    # Of what is no jax.Array yet, also the dtype that it would get: float32 instead of float64.
    return str(its[1]) == dtype or (
        not isinstance(leaf, jax.Array) and str(jax.dtypes.canonicalize_dtype(its[1])) == dtype
    )


def _described(leaf: Any) -> str:  # noqa: ANN401 (as above)
    its = _shape_and_dtype(leaf)
    return f"a {type(leaf).__name__}" if its is None else f"{its[1]}{list(its[0])}"


def _shape_and_dtype(leaf: Any) -> tuple[tuple[int, ...], Any] | None:  # noqa: ANN401 (as above)
    """None of what is no array."""
    if isinstance(leaf, jax.ShapeDtypeStruct) or (isinstance(leaf, jax.Array) and leaf.is_deleted()):
        return None
    if isinstance(leaf, jax.Array) or type(leaf) is numpy.ndarray:
        return leaf.shape, leaf.dtype
    try:
        type_ = jax.typeof(leaf)
    except (TypeError, ValueError, OverflowError):
        return None
    return type_.shape, type_.dtype
