"""What random programs are written with: their values, and the lines that make these."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace

LEAST_CLIPPED = 2**12  # larger values are clipped, lest sums stop being exact


@dataclass(frozen=True)
class Value:
    """A value of a program.

    kind: f, i or b for floats, integers and booleans.
    axis: the dimension of the examples, None if every example has the same.
    blocks: how many batches lie one after another there.
    whole: whether it was made of all examples at once.
    bound: no element is larger.
    """

    name: str
    shape: tuple[int, ...]
    kind: str = "f"
    axis: int | None = None
    whole: bool = False
    bound: float = 3
    blocks: int = 1

    @property
    def rank(self) -> int:
        return len(self.shape)

    def free_axes(self) -> list[int]:
        """The dimensions that hold no examples."""
        return [axis for axis in range(self.rank) if axis != self.axis]


@dataclass
class Writer:
    """A program while it is being written."""

    random: random.Random
    batch: int
    smooth: bool
    tame: bool = True
    values: list[Value] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    def add(self, text: str, like: Value, **changes: object) -> Value:
        """A line that makes a value."""
        made = replace(like, **{**changes, "name": f"v{len(self.lines)}"})  # type: ignore[arg-type]
        self.lines.append(f"{made.name} = {text}")
        if not self.smooth and made.kind != "b" and made.bound > LEAST_CLIPPED:
            made = replace(made, name=f"v{len(self.lines)}", bound=9)
            self.lines.append(f"{made.name} = jnp.clip(v{len(self.lines) - 1}, -9, 9)")
        self.values.append(made)
        return made

    def pick(self, wanted: Callable[[Value], bool] = lambda _: True) -> Value | None:
        """One of the values, later ones and those with examples more often."""
        found = [one for one in self.values if wanted(one)]
        if not found:
            return None
        weights = [(index + 2) * (3 if one.axis is not None else 1) for index, one in enumerate(found)]
        return self.random.choices(found, weights)[0]

    def number(self) -> Value | None:
        return self.pick(lambda one: one.kind == "f")

    def free_axis(self, value: Value) -> int | None:
        """A dimension that may be reordered, cut or run along."""
        if not self.tame and value.axis is not None and self.random.random() < 0.8:
            return value.axis
        axes = value.free_axes() if self.tame else list(range(value.rank))
        return self.random.choice(axes) if axes else None
