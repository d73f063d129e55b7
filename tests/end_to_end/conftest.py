"""Where whole programs run: most near, and a tenth of them over sockets."""

import random
from pathlib import Path

import pytest
from atoll.runtime import ground
from socket_hosts import Wires

_ONE_IN = 10


def pytest_collection_modifyitems(items):
    """Mark those that run over sockets: always the same."""
    for item in items:
        is_here = item.path.is_relative_to(Path(__file__).parent)
        if is_here and item.get_closest_marker("near") is None and not random.Random(item.nodeid).randrange(_ONE_IN):
            item.add_marker("sockets")


@pytest.fixture(autouse=True)
def wires(request, monkeypatch):
    """A host for each island, reached by bytes over sockets, which are late, overtake each other and come twice.

    What comes of it has to be the same, bit by bit and count by count.
    """
    if request.node.get_closest_marker("sockets") is None:
        yield None
        return
    made = Wires(seed=0)
    monkeypatch.setattr(ground, "one_host", made.make_hosts)
    yield made
    made.close()
