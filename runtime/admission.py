"""Decides, before a step is asked for, what it may do with each value that it is given, and who has to send what.

Steps are admitted in the order in which every island carries them out. So a value that this step overwrites is no
longer needed by any step before it, and nothing about other islands has to be known while it runs.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from atoll.runtime.array import Array
from atoll.runtime.budget import Held
from atoll.runtime.fed import Fed
from atoll.runtime.feeder import Feeder
from atoll.runtime.handle import Handle
from atoll.runtime.hosted_islands import HostedIslands
from atoll.runtime.messages import Coming, Forward, Order, Stored, Use
from atoll.runtime.program import Division, Input, Place, Places, Program
from atoll.runtime.program_memory import Bytes
from atoll.runtime.promise import Copies, Promise
from atoll.runtime.step import Step


@dataclass
class Admission:
    """A step as its islands will be asked for it.

    sizes: for each island, what each buffer takes.
    feeds, outputs: for each island of the program, as an `Order` has them.
    forwards: what islands have to send, by their cluster and their name.
    taken: what the step overwrites.
    """

    hosted: HostedIslands
    program: Program
    step: Step
    sizes: Mapping[str, Sequence[Bytes]]
    feeds: dict[str, dict[int, Any]] = field(init=False)
    outputs: dict[str, dict[int, Handle]] = field(init=False)
    forwards: dict[tuple[HostedIslands, str], list[Forward]] = field(default_factory=lambda: defaultdict(list))
    taken: list[Handle] = field(default_factory=list)
    _read: dict[Place, Handle] = field(default_factory=dict)  # what is read where it is

    def __post_init__(self) -> None:
        self.feeds = {island.name: {} for island in self.program.islands}
        self.outputs = {island.name: {} for island in self.program.islands}

    def feed(self, inputs: Sequence[tuple[Input, Division]], arguments: Sequence[Any], feeder: Feeder) -> None:
        """Give the step its arguments."""
        for (one, division), value in zip(inputs, arguments, strict=True):
            if not one.places:
                continue
            if isinstance(value, Array) and (parts := self._in_place(value.promise, division)):
                for copies, handles in zip(one.places, parts, strict=True):
                    self._feed_stored(copies, handles, donated=one.donated)
            elif isinstance(value, Fed):
                for name, number in one.every_place:
                    self.feeds[name][number] = value
            else:
                for (name, number), placed in feeder.placed(one, division, value):
                    self.feeds[name][number] = placed

    def _in_place(self, value: Promise, division: Division) -> Sequence[Copies]:
        """The parts of a value that is divided as the step takes it and comes to its islands without going through the
        caller; else none. Processes of one cluster know the way to each other alone."""
        if value.division is not division and value.division != division:
            return ()
        parts = value.parts()
        for handles in parts:
            for handle in handles:
                at = handle.hosted
                if at is not self.hosted and not (at.ground.is_near and self.hosted.ground.is_near):
                    return ()
        return parts

    def _feed_stored(self, places: Sequence[Place], handles: Sequence[Handle], *, donated: bool) -> None:
        """Give each place one of the copies of a part: that of its own island, if there is one."""
        if len(places) == len(handles) == 1:
            self._feed_one(places[0], handles[0], donated)
            return
        near = {handle.island: handle for handle in handles if handle.hosted is self.hosted}
        chosen = [near.get(name, handles[0]) for name, _ in places]
        for place, handle in zip(places, chosen, strict=True):
            self._feed_one(place, handle, donated, is_alone=chosen.count(handle) == 1)

    def _feed_one(self, place: Place, handle: Handle, donated: bool, is_alone: bool = True) -> None:
        """is_alone: whether no other place of the step gets the same copy."""
        use = Use.BORROW
        if donated:
            use = Use.TAKE if is_alone and handle.is_free else Use.COPY
        if use is Use.TAKE:
            self.taken.append(handle)
        name, number = place
        if handle.hosted is self.hosted and handle.island == name:
            self.feeds[name][number] = Stored(handle.number, use)
            if use is Use.BORROW:
                self._read[place] = handle
            return
        if handle.hosted is not self.hosted:
            handle.readers.add(self.step.key)
            self.step.at_end.append(partial(_let_go, handle, self.step.key))
        if use is Use.BORROW and number in self.program.kept[name]:
            use = Use.COPY  # what is passed through becomes another value, which must have memory of its own
        self.feeds[name][number] = Coming(handle.island)
        forward = Forward(handle.number, use, *self.step.key, name, number)
        self.forwards[handle.hosted, handle.island].append(forward)

    def give(self) -> None:
        """Make the handles of the step's results."""
        hosted, read, step = self.hosted, self._read, self.step
        program = step.key[0]
        for name, counts in self.program.kept.items():
            outputs = self.outputs[name]
            for number, count in counts.items():
                handle = read.get((name, number)) if read else None  # an argument that is passed through
                if handle is None:
                    # It takes memory once it is asked for.
                    handle = outputs[number] = Handle(hosted, name, program, number, 0, step)
                else:
                    handle.shared = True
                if count > 1:
                    handle.shared = True

    def left_at(self, places: Places) -> list[Copies]:
        """What is left at the places of a result, for each of its parts."""
        outputs, read = self.outputs, self._read
        return [tuple([outputs[name].get(number) or read[name, number] for name, number in part]) for part in places]

    # Memory, in bytes on each device of an island.

    @property
    def own(self) -> Mapping[str, Held]:
        """Of what the step works with on each island, what is kept there already."""
        own = self._borrowed()
        for handle in self.taken:
            if handle.hosted is self.hosted:
                own[handle.island][handle.program] += handle.size
        return own

    def working(self, needs: Mapping[str, int]) -> dict[str, int]:
        """What it works with beside what is kept, its results among that; needs: with all of it."""
        borrowed = self._borrowed()
        made = {name: sum(self.sizes[name][number].device for number in here) for name, here in self.outputs.items()}
        return {name: max(0, size - borrowed[name].total() - made[name]) for name, size in needs.items()}

    def _borrowed(self) -> dict[str, Counter[int]]:
        borrowed: dict[str, Counter[int]] = {name: Counter() for name in self.feeds}
        for (name, _), handle in self._read.items():
            borrowed[name][handle.program] += handle.size
        return borrowed

    def count(self) -> None:
        """It is asked for: its results take memory from now on, and what it takes does so no longer."""
        for handle in self.taken:
            handle.hosted.budget.change(handle.island, handle.program, -handle.size)
        for name, here in self.outputs.items():
            sizes = self.sizes[name]
            for number, handle in here.items():
                handle.size = sizes[number].device
            self.hosted.budget.change(name, self.step.key[0], sum([handle.size for handle in here.values()]))

    def orders(self) -> Mapping[tuple[HostedIslands, str], Order]:
        """What each island has to do, by its cluster and its name."""
        orders = {
            (self.hosted, name): Order(
                feeds,
                {number: handle.number for number, handle in self.outputs[name].items()},
                tuple(self.forwards.get((self.hosted, name), ())),
            )
            for name, feeds in self.feeds.items()
        }
        for at, forwards in self.forwards.items():
            if at not in orders:
                orders[at] = Order({}, {}, tuple(forwards))
        return orders


def _let_go(handle: Handle, reader: tuple[int, int]) -> None:
    handle.readers.discard(reader)
