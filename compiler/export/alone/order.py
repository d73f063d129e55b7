"""Whether the examples of a microbatch stand one after another in what operations of a scope make, as in the whole."""

from math import prod
from typing import Any

from atoll.compiler.export.alone.pairs import TracedPair
from atoll.compiler.export.alone.values import AloneForms, NoForm

_Equation = Any  # of jax
# Take some of what is along an axis, by its place.
_CUTTING = frozenset(("dynamic_slice", "slice", "split"))
# Take of a value what another one says, or put another one into it.
_PLACING = frozenset(("dynamic_update_slice", "gather"))


def check_order(forms: AloneForms, pair: TracedPair, one: _Equation, other: _Equation) -> None:
    """NoForm if an operation, or one in its blocks, has the examples of a microbatch in several places of the whole.

    Parts of a value are cut out of it, and put together again, as if they came one after another along an axis. What
    makes one axis of several, or several of one, and what joins, cuts or fills up values along one, can have it
    otherwise.
    """
    name = one.primitive.name
    if name == "reshape" and _before(forms, one.invars[0], other.invars[0]) != _before(
        forms, one.outvars[0], other.outvars[0]
    ):
        raise NoForm("has another axis in front of the examples in one axis with them, so that they are in turns")
    if name == "concatenate" and len(one.invars) > 1:
        axes = {_axis(forms, whole, own) for whole, own in zip(one.invars, other.invars, strict=True)}
        if one.params["dimension"] in axes:
            raise NoForm("joins values along the axis of the examples, so that they are in several places")
    axis = _axis(forms, one.invars[0], other.invars[0]) if name in _CUTTING else None
    if axis is not None and one.outvars[0].aval.shape[axis] != one.invars[0].aval.shape[axis]:
        raise NoForm("takes some of the examples by their place, which is another one in a microbatch")
    if name == "pad" and one.params["padding_config"] != other.params["padding_config"]:
        raise NoForm("fills up by as much as there are examples, which are then in several places")
    if name in _PLACING and len({_extent(forms, one, other, number) for number in (0, 1)} - {None}) > 1:
        raise NoForm("has some of the examples at places of their own, which are others in a microbatch")
    for inner in pair.within(one, other):
        for equation, its_own in inner.equations():
            check_order(forms, inner, equation, its_own)


def _axis(forms: AloneForms, whole: Any, own: Any) -> int | None:  # noqa: ANN401 (values or literals of jax's)
    return forms.axis(whole.aval.shape, own.aval.shape)


def _extent(forms: AloneForms, one: _Equation, other: _Equation, number: int) -> int | None:
    """How many there are along the axis of the examples in an operand; None where there is no one such axis."""
    whole, own = one.invars[number], other.invars[number]
    try:
        axis = _axis(forms, whole, own)
    except NoForm:  # such as a matrix of all pairs
        return None
    return None if axis is None else whole.aval.shape[axis]


def _before(forms: AloneForms, whole: Any, own: Any) -> int:  # noqa: ANN401 (as above)
    """How often the examples are gone through; once where there are none."""
    axis = _axis(forms, whole, own)
    return 1 if axis is None else prod(whole.aval.shape[:axis])
