"""What the memory of a cluster's islands is given to, and whether one more step fits.

Pure: it neither waits nor knows what the values are. All amounts are bytes on each device of an island.
"""

from collections import Counter, defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field

Held = Mapping[int, int]  # by program, the bytes of its arrays


@dataclass(frozen=True)
class Shortage:
    """Why a step of a program does not fit on an island.

    held: what arrays take; working: by other program, what it works with; needed: by the step.
    """

    program: int
    island: str
    limit: int
    held: Held
    working: Mapping[int, int]
    needed: int

    @property
    def never_fits(self) -> bool:
        """Whether it would not even with the island to itself."""
        return self.needed > self.limit

    def __str__(self) -> str:
        parts = [f"the step needs {self.needed:,}"]
        if total := sum(self.held.values()):
            others = [f"program {one} has {size:,}" for one, size in self.held.items() if size and one != self.program]
            whose = f" (of which {', '.join(others)})" if others else ""
            parts.append(f"arrays that are kept there take {total:,}{whose}")
        parts += [f"what program {one} does takes {size:,}" for one, size in self.working.items() if size]
        return f"a device of island {self.island} has {self.limit:,} bytes; {', '.join(parts)}"


@dataclass
class Budget:
    """limits: of islands that have one; others are not counted.

    The steps of one program come one after the other on an island, so the working memory of one is that of the next.
    Those of different programs add up, as an island enqueues tasks ahead of its devices.
    """

    limits: Mapping[str, int]
    _held: defaultdict[str, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))  # by program
    _working: defaultdict[str, dict[int, list[int]]] = field(default_factory=lambda: defaultdict(dict))
    # A destructor may let go of an array in any thread, where it must not wait for a lock; so it only appends here.
    _changes: deque[tuple[str, int, int]] = field(default_factory=deque)

    def change(self, island: str, program: int, size: int) -> None:
        """A program's array is kept on an island from now on; or no longer, if the size is negative. For any thread."""
        if island in self.limits:
            self._changes.append((island, program, size))

    def shortage(self, program: int, needs: Mapping[str, int], own: Mapping[str, Held]) -> Shortage | None:
        """Why a step does not fit, if it does not.

        needs: what it works with on each island, and among it `own`, what is kept there already.
        """
        self._settle()
        for island, limit in self.limits.items():
            if island not in needs:
                continue
            its = own.get(island, {})
            held = {number: size - its.get(number, 0) for number, size in self._held[island].items()}
            working = {number: max(sizes) for number, sizes in self._working[island].items() if number != program}
            if sum(held.values()) + sum(working.values()) + needs[island] > limit:
                return Shortage(program, island, limit, held, working, needs[island])
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
            island, program, size = self._changes.popleft()
            held = self._held[island]
            held[program] += size
            if not held[program]:
                del held[program]  # or what it is looked through for would grow with every program
