"""Writes exchanges between replicas into the streams of their islands, as tasks, sends and receives like any other.

What an island has to send goes as soon as it is complete; what it gets is added, or joined, when somebody first asks
for the result. Both points follow from the module alone, so they stand between the same tasks in all replicas: the one
behind the last task of a loop that makes a sum, behind the task of `@main` that makes another value, or else where the
exchange stands in `@main`; the other before what takes the result. So none waits for what another does later: put the
points and tasks of one replica into an order in which it could do them one by one if exchanges took no time. Whatever
is received at a point is sent at that point of another replica or at an earlier one, so they all get beyond it.
"""

from collections.abc import Sequence

from atoll.compiler.emit.bundles import Bundle
from atoll.compiler.emit.codes import Codes
from atoll.compiler.emit.exchange_forms import FORMS
from atoll.compiler.emit.exchange_wires import Wires
from atoll.compiler.emit.stream import Stream
from atoll.compiler.replicas.exchange import Unit


class ExchangeWriter:
    """One unit of a bundle, in all replicas."""

    def __init__(self, number: int, bundle: Bundle, unit: Unit, streams: Sequence[Stream], codes: Codes) -> None:
        """streams: those of the island in each replica."""
        self._wires = Wires(number, bundle, unit, streams, codes)
        self._form = FORMS[unit.form](self._wires)

    def begin(self, replica: int) -> None:
        """Send what a replica has; what comes of it is made when it is asked for."""
        self._form.begin(replica)
        for name in self._wires.results:
            self._wires.streams[replica].pending[name] = lambda: self._end(replica)

    def _end(self, replica: int) -> None:
        stream = self._wires.streams[replica]
        for name in self._wires.results:
            del stream.pending[name]
        last = self._form.end(replica)
        stream.run(self._wires.task(last.name), last.code, last.inputs, self._wires.results)
