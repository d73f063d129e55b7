"""The keeper, which has the processes of islands, and gives them to one controller after another.

They end when it does.
"""

import os
import secrets
import socket
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atoll.compiler.errors import AtollError
from atoll.runtime.failure import Failure
from atoll.runtime.inbox import Inbox
from atoll.runtime.keeping import record as records
from atoll.runtime.keeping.lending import Action, Admit, Dismiss, Lending, Refuse, Renew
from atoll.runtime.keeping.polls import Polls, Told
from atoll.runtime.keeping.talk import (
    Ask,
    Cleared,
    Come,
    Contents,
    Describe,
    Deserted,
    Ended,
    Finish,
    Guest,
    Leave,
    Look,
    Process,
    Reply,
    Serve,
    Sorry,
    Status,
    Welcome,
)
from atoll.runtime.processes.assignment import Assignment, Seat
from atoll.runtime.processes.far_process import FarProcess
from atoll.runtime.processes.launcher import Launcher, gathered
from atoll.runtime.processes.muster import Arrived
from atoll.runtime.processes.packing import pack, unpack
from atoll.runtime.processes.wanted import Seats, Wanted
from atoll.runtime.processes.wire import Door, Wire

if TYPE_CHECKING:
    from atoll.runtime.processes.greetings import Here

# How many seconds processes may take to be free of a controller that is gone: a little more than they give themselves.
_CLEARING = 35.0

# How many seconds they have to say what they have: for a command, and before a controller gets them. A command waits
# so many seconds more while they tidy up, as what they say would be over in a moment.
_DESCRIBING, _ANSWERING, _TIDYING = 5.0, 10.0, 20.0

# How many seconds a controller that has been let in may take to have processes serve it, which it does at once: only
# they notice whether it goes on.
_BEGINNING = 60.0

# How often, in seconds, it looks whether it is still needed.
_LOOKING = 2.0


@dataclass(frozen=True)
class Keeping:
    """What is to be up. topology: its text. cluster: where, as `atoll.Cluster` has it. where: the record's file.

    devices: how many CPU devices the process would have that asks for it.
    """

    islands: tuple[Wanted, ...]
    topology: str
    cluster: str
    watchdog: float
    devices: int
    where: Path


class Keeper:
    """One thread does all; others put calls into its inbox."""

    def __init__(self, asked: Keeping, launcher: Launcher) -> None:
        self._asked = asked
        self._launcher = launcher
        self._seats = Seats(asked.islands, asked.devices)
        self._secret = secrets.token_bytes(32)
        self._lending = Lending(self._seats.all)
        self._processes: dict[Seat, FarProcess] = {}
        self._heres: dict[Seat, Here] = {}  # the last that was known of each
        self._wires: set[Wire] = set()
        self._guests: dict[Wire, Guest] = {}
        self._polls = Polls(self._ask)
        self._lookers: dict[Wire, float] = {}  # commands that ask what there is, and until when they wait
        self._inbox: Inbox[partial[None]] = Inbox()
        self._admitted = 0.0  # when the last controller was let in
        self._parted = 0.0  # when it was found to be gone
        self._looked = 0.0
        self._is_over = False

    def start(self) -> records.UpRecord:
        """Start all processes, and write the record; AtollError if that cannot be."""
        self._arrive(
            gathered(self._launcher, self._seats, self._seats.all, self._secret, self._asked.watchdog, stay=True)
        )
        self._lending.started(self._seats.all)
        self._door = Door(self._launcher.own_host, self._secret, self._let_in)
        self.record = records.UpRecord(
            self._door.address,
            self._secret.hex(),
            os.getpid(),
            socket.gethostname(),
            time.time(),
            self._asked.topology,
            records.versions(),
        )
        records.write(self._asked.where, self.record)
        return self.record

    def run(self) -> None:
        """Until a command says so, or what it needs is gone."""
        while not self._is_over:
            call = self._inbox.get(0.2 if self._polls else _LOOKING)
            if call is not None:
                call()
            self._look()
        self._door.close()
        for wire in tuple(self._wires):
            wire.close()  # by which commands know that nothing is left

    def stop(self) -> None:
        """From any thread, or a handler of a signal."""
        self._inbox.put(partial(self._end, None))

    def close(self) -> int:
        """Finish all processes; how many there were."""
        for process in self._processes.values():
            process.close()
        self._launcher.close()
        return len(self._processes)

    # Processes.

    def _arrive(self, arrived: dict[Seat, Arrived]) -> None:
        for seat, one in arrived.items():
            self._heres[seat] = one.here
            self._processes[seat] = FarProcess(
                one.here,
                one.wires,
                self._asked.watchdog,
                lambda message: self._inbox.put(partial(self._told, message)),
                lambda process, _: self._inbox.put(partial(self._lost, process)),
            )

    def _told(self, message: Any) -> None:  # noqa: ANN401 (a message)
        match message:
            case Cleared(seat):
                self._do(self._lending.free(seat))
                self._polls.forget(seat)
            case Deserted(seat) if seat in self._lending.serving and self._lending.guest is not None:
                self._take_back(self._lending.guest)
            case Contents():
                self._polls.tell(message)

    def _lost(self, process: FarProcess) -> None:
        seat = process.here.seat
        if self._processes.get(seat) is process:
            del self._processes[seat]
            self._launcher.end(seat)  # what was only stopped must not come back
            self._do(self._lending.lose(seat))

    def _renew(self, seats: Sequence[Seat]) -> None:
        for seat in seats:
            if (process := self._processes.pop(seat, None)) is not None:
                process.abandon()
            self._launcher.end(seat)
        threading.Thread(target=self._start_again, args=(seats,), name="atoll starts", daemon=True).start()

    def _start_again(self, seats: Sequence[Seat]) -> None:
        try:
            arrived = gathered(self._launcher, self._seats, seats, self._secret, self._asked.watchdog, stay=True)
        except Exception as error:
            why = error.what if isinstance(error, AtollError) else f"{type(error).__name__}: {error}"
            self._inbox.put(partial(self._not_started, why))
            return
        self._inbox.put(partial(self._started, arrived))

    def _started(self, arrived: dict[Seat, Arrived]) -> None:
        self._arrive(arrived)
        self._do(self._lending.started(arrived))

    def _not_started(self, why: str) -> None:
        self._do(self._lending.not_started(why))

    # Who comes.

    def _let_in(self, wire: Wire) -> None:
        """On a thread of its own."""
        self._wires.add(wire)
        while (parts := wire.receive()) is not None:
            self._inbox.put(partial(self._hear, wire, unpack(parts)))
        self._inbox.put(partial(self._hang_up, wire))

    def _hear(self, wire: Wire, message: Any) -> None:  # noqa: ANN401 (a message)
        match message:
            case Come(guest, islands):
                self._guests[wire] = guest
                if islands == self._seats.islands:
                    self._look_before(wire)
                else:
                    what = f"the cluster that is up has other islands: {self._asked.topology}"
                    self._say(wire, Sorry(Failure(what, remedy="write this topology, or end it with `atoll down`")))
            case Ask(name, argument) if wire is self._lending.guest:
                self._say(wire, Reply(self._answer(name, argument)))
            case Look():
                self._lookers[wire] = time.monotonic() + _TIDYING
            case Finish(force):
                self._end(wire, force=force)

    def _look_before(self, wire: Wire) -> None:
        """Admit a controller once it is known that the processes are there: one may have ended a moment ago."""

        def come(told: Told) -> None:
            if self._lending.guest is None:
                for seat in asked - told.keys():
                    if seat in self._processes:
                        self._processes[seat].abandon()
                        self._lost(self._processes[seat])
            if wire in self._guests:
                self._do(self._lending.come(wire))

        asked = set() if self._lending.serving else set(self._processes)
        self._polls.start(asked, time.monotonic() + _ANSWERING, come)

    def _answer(self, name: str, argument: Any) -> Any:  # noqa: ANN401 (as a `Launcher` has them)
        match name:
            case "start":
                return self._serve(argument)
            case "trouble":
                return self._trouble()
            case "end":
                return self._launcher.end(argument)
        raise ValueError(name)

    def _serve(self, assignments: Sequence[Assignment]) -> None:
        for one in assignments:
            if one.seat in self._processes:
                self._lending.serve([one.seat])
                self._processes[one.seat].say(Serve(one))

    def _trouble(self) -> str:
        islands = [self._seats.names[seat[0]] for seat in self._lending.missing]
        return f"that of island {islands[0]} has ended" if islands else ""

    def _hang_up(self, wire: Wire) -> None:
        wire.close()
        self._wires.discard(wire)
        self._guests.pop(wire, None)
        self._lookers.pop(wire, None)
        self._do(self._lending.go(wire))

    def _take_back(self, wire: Wire) -> None:
        """Let go of a controller that is stopped or cut off. If it ever comes back, it reads this."""
        what = f"the cluster that is up was taken back from {self._guest}, which was stopped or cut off"
        with suppress(OSError):
            wire.send_some(pack(Sorry(Failure(what, remedy="make a new cluster and start from what was saved"))))
        self._hang_up(wire)

    def _do(self, actions: Sequence[Action]) -> None:
        for action in actions:
            match action:
                case Admit(wire):
                    self._admitted = time.monotonic()
                    self._say(wire, Welcome(self._asked.cluster == "ray"))
                case Refuse(wire, why):
                    self._say(wire, Sorry(self._busy if why is None else Failure(why)))
                case Renew(seats):
                    self._renew(seats)
                case Dismiss(seats):
                    self._parted = time.monotonic()
                    for seat in seats:
                        if seat in self._processes:
                            self._processes[seat].say(Leave())

    @property
    def _guest(self) -> Guest | None:
        """Who has the islands."""
        return None if self._lending.guest is None else self._guests[self._lending.guest]

    @property
    def _busy(self) -> Failure:
        guest = self._guest
        assert guest is not None
        since = time.strftime("%H:%M:%S", time.localtime(guest.since))
        what = f"the cluster that is up is used by {guest}, since {since}"
        return Failure(what, remedy="wait until that one has closed it, or end it with `atoll down --force`")

    def _say(self, wire: Wire, message: object) -> None:
        with suppress(OSError):  # it is gone, which is noticed elsewhere
            wire.send(pack(message))

    # What there is.

    def _ask(self, seat: Seat, request: int) -> None:
        if seat in self._processes:
            self._processes[seat].say(Describe(request))

    def _show(self, now: float) -> None:
        """Have processes say what they have to those commands that need wait no longer."""
        for wire, until in tuple(self._lookers.items()):
            if not self._lending.is_tidying or now >= until:
                del self._lookers[wire]
                self._polls.start(self._processes, now + _DESCRIBING, partial(self._tell_status, wire))

    def _tell_status(self, wire: Wire, told: Told) -> None:
        self._say(wire, self._status(told))

    def _status(self, told: Told) -> Status:
        processes = [
            Process(self._seats.names[seat[0]], here.pid, here.machine, self._state(seat), told.get(seat))
            for seat, here in sorted(self._heres.items())
        ]
        record = self.record
        trouble = self._lending.trouble
        return Status(record.pid, record.since, record.topology, self._asked.cluster, self._guest, processes, trouble)

    def _state(self, seat: Seat) -> str:
        if seat not in self._processes:
            return "starts" if self._lending.is_starting(seat) else "has ended"
        if seat not in self._lending.serving:
            return "waits"
        return "tidies up" if self._lending.is_tidying else "serves"

    def _end(self, wire: Wire | None, *, force: bool = True) -> None:
        if self._lending.guest is not None and not force:
            assert wire is not None
            self._say(wire, Sorry(replace(self._busy, remedy="wait until that one has closed it, or add --force")))
            return
        self._is_over = True
        records.remove(self._asked.where, self.record)
        ended = self.close()
        if wire is not None:
            self._say(wire, Ended(ended))

    # What nobody says.

    def _look(self) -> None:
        now = time.monotonic()
        self._show(now)
        self._polls.look(self._processes.keys(), now)
        if self._is_over or now < self._looked + _LOOKING:
            return
        self._looked = now
        if self._lending.guest is None and self._lending.serving and now > self._parted + _CLEARING:
            for seat in self._lending.serving:
                self._launcher.end(seat)
        if self._lending.guest is not None and not self._lending.has_begun and now > self._admitted + _BEGINNING:
            self._take_back(self._lending.guest)
        if not self._is_needed():
            self._is_over = True
            self.close()

    def _is_needed(self) -> bool:
        """Whether it can be found, and what it needs is there."""
        try:
            if records.read(self._asked.where) != self.record:
                return False
            os.utime(self._asked.where)  # or what tidies up old files would take it
            self._launcher.trouble()
        except (AtollError, OSError):
            return False
        return True
