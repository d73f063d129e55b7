"""Makes the processes of an island one for jax: each has some of its devices, and all know all of them."""

import socket

import jax
from atoll.compiler.errors import TopologyError
from atoll.runtime.failure import reason
from atoll.runtime.processes.assignment import Address, Assignment
from atoll.runtime.processes.greetings import Meeting, Seeking
from atoll.runtime.processes.packing import pack, unpack
from atoll.runtime.processes.wire import Wire

# How many seconds they may take to find each other.
_MEETING = 60

# After so many seconds without a sign of life from one the others end, if the controller, whose task it is to end them,
# has not done so.
_HEARTBEAT = 30


def join_partners(assignment: Assignment, wire: Wire) -> None:
    """To be called before jax starts. wire: to the controller, which tells where they meet."""
    if assignment.processes == 1:
        return
    place = _meeting(assignment, wire)
    if assignment.platform == "cpu":
        jax.config.update("jax_cpu_collectives_implementation", "gloo")  # type: ignore[no-untyped-call] # jax's
    address = "{}:{}".format(*place)
    try:
        jax.distributed.initialize(
            coordinator_address=address,
            coordinator_bind_address=address,  # or everybody's network could reach it
            num_processes=assignment.processes,
            process_id=assignment.seat[1],
            cluster_detection_method="deactivate",
            initialization_timeout=_MEETING,
            heartbeat_timeout_seconds=_HEARTBEAT,
        )
    except Exception as error:
        what = f"the processes of island {assignment.island} cannot find each other: {reason(error)}"
        raise TopologyError(what, remedy="try again; another program may have taken a port") from None


def _meeting(assignment: Assignment, wire: Wire) -> Address:
    number, index = assignment.seat
    if index:
        wire.send(pack(Seeking(number)))
        told = wire.receive()
        if told is None:
            raise TopologyError("the controller is gone", remedy="start the program again")
        place: Address = unpack(told).place
        return place
    with socket.create_server((wire.own_host, 0)) as free:
        place = free.getsockname()[:2]
    wire.send(pack(Meeting(number, place)))
    return place
