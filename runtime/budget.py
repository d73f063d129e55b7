"""What the memory of a cluster's islands is given to, and whether one more step fits.

Pure: it neither waits nor knows what the values are. All amounts are bytes on each device of an island.
"""

from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Shortage:
    """Why a step does not fit on an island.

    held: what its arrays take; working: what other programs work with; needed: by the step.
    """

    island: str
    limit: int
    held: int
    working: int
    needed: int

    @property
    def never_fits(self) -> bool:
        """Whether it would not even with the island to itself."""
        return self.needed > self.limit

    def __str__(self) -> str:
        others = "".join(
            f", {what} {size:,}"
            for what, size in (("arrays that are kept there take", self.held), ("other programs", self.working))
            if size
        )
        return f"a device of island {self.island} has {self.limit:,} bytes; the step needs {self.needed:,}{others}"


@dataclass
class Budget:
    """limits: of islands that have one; others are not counted.

    The steps of one program come one after the other on an island, so the working memory of one is that of the next.
    Those of different programs add up, as an island enqueues tasks ahead of its devices.
    """

    limits: Mapping[str, int]
    _held: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    _working: defaultdict[str, dict[int, list[int]]] = field(default_factory=lambda: defaultdict(dict))
    # A destructor may let go of an array in any thread, where it must not wait for a lock; so it only appends here.
    _changes: deque[tuple[str, int]] = field(default_factory=deque)

    def change(self, island: str, size: int) -> None:
        """An array is kept on an island from now on; or no longer, if the size is negative. For any thread."""
        if island in self.limits:
            self._changes.append((island, size))

    def shortage(self, program: int, needs: Mapping[str, int], own: Mapping[str, int]) -> Shortage | None:
        """Why a step does not fit, if it does not.

        needs: what it works with on each island, and among it `own`, what is kept there already.
        """
        self._settle()
        for island, limit in self.limits.items():
            if island not in needs:
                continue
            held = self._held[island] - own.get(island, 0)
            working = sum(max(sizes) for number, sizes in self._working[island].items() if number != program)
            if held + working + needs[island] > limit:
                return Shortage(island, limit, held, working, needs[island])
        return None

    def begin(self, program: int, working: Mapping[str, int]) -> None:
        """A step is under way that works with so much, beside what is kept."""
        for island in self.limits.keys() & working.keys():
            self._working[island].setdefault(program, []).append(working[island])

    def end(self, program: int, working: Mapping[str, int]) -> None:
        """It is over."""
        for island in self.limits.keys() & working.keys():
            sizes = self._working[island][program]
            sizes.remove(working[island])
            if not sizes:
                del self._working[island][program]

    @property
    def is_idle(self) -> bool:
        """Whether no step is under way."""
        return not any(self._working.values())

    def _settle(self) -> None:
        while self._changes:
            island, size = self._changes.popleft()
            self._held[island] += size
