"""How values cross between islands that divide them unlike: on numbers alone."""

import itertools
import random
from math import lcm, prod

import pytest
from atoll.compiler.emit.resharding import Crossing, End, bytes_of_way, crossing
from atoll.runtime.program import AxisPart

pytestmark = pytest.mark.own


def on(text, *spec):
    """`data=2 model=2` with a spec, whose dimensions are texts of axes."""
    axes = tuple((name, int(size)) for name, _, size in (one.partition("=") for one in text.split()))
    return End(axes, tuple(tuple(one.split()) for one in spec))


@pytest.mark.parametrize(
    ("source", "target", "sent", "received"),
    [
        # Alike, or finer on the receiving side: no device needs anything from another one.
        (on("data=4", "data"), on("model=4", "model"), None, None),
        (on("data=2 model=2", "data model"), on("data=4", "data"), None, None),
        (on("data=4"), on("data=2"), None, None),
        (on("data=1"), on("data=4", "data"), None, None),
        (on("data=2", "data"), on("data=4", "data"), None, None),
        (on("data=4"), on("data=2 model=2", "data", "model"), None, None),
        # Coarser there: the sender has more devices.
        (on("data=4", "data"), on("data=1"), (), None),
        (on("data=4", "data"), on("data=2", "data"), (("data:(1)2",), ()), None),
        (on("data=4", "data"), on("data=3", "data"), (), None),
        (on("data=3", "data"), on("data=4", "data"), (), None),
        # Whole there, on as many devices: each gets a part, and the others from its neighbours.
        (on("data=4", "data"), on("data=4"), None, (("data",), ())),
        # Along other dimensions: the sender, or the island with more devices.
        (on("data=4", "data"), on("data=4", "", "data"), ((), ("data",)), None),
        (on("data=4", "data"), on("data=8", "", "data"), None, (("data:(2)4",), ("data:(1)2",))),
        (on("data=4", "data"), on("data=2 model=2", "data", "model"), (("data:(1)2",), ("data:(2)2",)), None),
        (on("data=2 model=2", "data", "model"), on("data=4", "data"), (("data", "model"), ()), None),
        (on("data=2 model=2", "data"), on("data=4", "", "data"), ((), ("model", "data")), None),
        # Coarser along one and finer along another dimension.
        (on("data=4", "data"), on("data=2", "", "data"), ((), ("data:(1)2",)), None),
    ],
)
def test_how_values_cross(source, target, sent, received):
    """None: as the island has the value anyway."""
    expected = Crossing(source.spec if sent is None else sent, target.spec if received is None else received)
    found = crossing(source, target, (48, 48))
    assert grids(source, target, found) == grids(source, target, expected)
    assert found == expected


def grids(source, target, found):
    return End(source.axes, found.sent).grid(2), End(target.axes, found.received).grid(2)


def test_a_large_mesh_is_no_matter():
    pod = "data=256 model=12"
    source, target = on(pod, "data", "model"), on(pod, "model", "data")
    found = crossing(source, target, (3072, 3072))
    assert End(source.axes, found.sent).grid(2) == (12, 256)
    assert found.received == target.spec


@pytest.mark.parametrize("shape", [(), (0, 4), (4, 0)])
def test_nothing_is_resharded_where_nothing_is(shape):
    source, target = on("data=2", *["data", ""][: len(shape)]), on("data=2", *["", "data"][: len(shape)])
    assert crossing(source, target, shape) == Crossing(source.spec, target.spec)


# Against all that could be done, on small meshes.

MESHES = ("a=1", "a=2", "a=3", "a=4", "a=6", "a=8", "a=2 b=2", "a=2 b=3", "a=3 b=2", "a=1 b=4", "a=2 b=2 c=2")


def specs(parts, sizes, shape):
    """All specs over some axes or parts of axes."""
    for count in range(len(parts) + 1):
        for chosen in itertools.permutations(parts, count):
            for dimensions in itertools.product(range(len(shape)), repeat=count):
                spec = [
                    tuple(one for one, at in zip(chosen, dimensions, strict=True) if at == number)
                    for number in range(len(shape))
                ]
                counts = [prod(AxisPart.of(one, sizes).size for one in axes) for axes in spec]
                if all(size % parts == 0 for size, parts in zip(shape, counts, strict=True)):
                    yield tuple(spec) if any(spec) else ()


def orders(size):
    """The prime factors of an axis, in all orders."""
    factors = [p for p in (2, 3) for _ in range(3) if size % p ** (_ + 1) == 0]
    return sorted(set(itertools.permutations(factors)))


def every_spec(axes, shape):
    """All that are over axes cut into their prime factors, whichever come first."""
    sizes = dict(axes)
    for factors in itertools.product(*(orders(size) for _, size in axes)):
        parts = []
        for (axis, _), ones in zip(axes, factors, strict=True):
            for number, size in enumerate(ones):
                parts.append(AxisPart(axis, prod(ones[:number]), size).text(sizes))
        yield from specs(parts, sizes, shape)


def received(before, after, shape):
    """What the busiest device gets, element by element."""
    most = 0
    devices = zip(*(zip(*end.numbers(len(shape)), strict=True) for end in (before, after)), strict=True)
    for pair in devices:
        old, new = (
            {
                index
                for index in itertools.product(*map(range, shape))
                if all(
                    one // (size // parts) == number
                    for one, size, parts, number in zip(index, shape, end.grid(len(shape)), numbers, strict=True)
                )
            }
            for end, numbers in zip((before, after), pair, strict=True)
        )
        most = max(most, len(new - old))
    return most


@pytest.mark.parametrize("seed", range(12))
def test_nothing_that_could_be_done_is_cheaper(seed, request):
    draw = random.Random(seed + request.config.getoption("first_seed"))
    for _ in range(4):
        shape = draw.choice([(24,), (12, 8), (6, 4)])
        ends = []
        for text in draw.choices(MESHES, k=2):
            axes = on(text).axes
            ends.append(End(axes, draw.choice(list(specs([name for name, _ in axes], dict(axes), shape)))))
        source, target = ends
        found, rank = crossing(source, target, shape), len(shape)
        sent, arrived = End(source.axes, found.sent), End(target.axes, found.received)
        own, wanted = source.grid(rank), target.grid(rank)
        assert all(fine % coarse == 0 for coarse, fine in zip(sent.grid(rank), arrived.grid(rank), strict=True))
        if own == wanted:
            assert (sent, arrived) == (source, target)
            continue

        def behind(end, target=target, shape=shape, rank=rank):
            count = prod(end.grid(rank))
            return received(end, target, shape) + (prod(shape) // count if count < target.devices else 0)

        cost = received(source, sent, shape) + behind(arrived)
        assert cost == bytes_of_way(source, target, shape, sent.grid(rank), arrived.grid(rank))
        before, after = {}, {}
        for spec in set(every_spec(source.axes, shape)):
            end = End(source.axes, spec)
            before.setdefault(end.grid(rank), []).append(end)
        for spec in set(every_spec(target.axes, shape)):
            end = End(target.axes, spec)
            if all(lcm(*pair) % one == 0 for *pair, one in zip(own, wanted, end.grid(rank), strict=True)):
                after.setdefault(end.grid(rank), []).append(end)
        least = {grid: min(received(source, end, shape) for end in some) for grid, some in before.items()}
        most = {grid: min(map(behind, some)) for grid, some in after.items()}
        assert cost == min(
            least[coarse] + most[fine]
            for coarse, fine in itertools.product(least, most)
            if all(one % other == 0 for one, other in zip(fine, coarse, strict=True))
        )
