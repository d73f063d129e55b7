"""Topologies: the text, what is refused, and real devices."""

from fractions import Fraction

import jax
import numpy
import pytest
from atoll.compiler.errors import TopologyError
from atoll.compiler.topology.island import PHYSICAL_RANK, Axis, Island, devices_of_slice, island_of_mesh
from atoll.compiler.topology.topology import DEFAULT_BANDWIDTH, DEFAULT_LATENCY, Link, Rates, Topology, topology
from hypothesis import given, settings
from hypothesis import strategies as st
from told import told


def cpus(name, count=4):
    return Island(name, "cpu", (Axis("devices", count),))


# Text and value.


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2 x cpu[4]", Topology((cpus("island0"), cpus("island1")))),
        ("1 x cpu[data=2, model=3]", Topology((Island("island0", "cpu", (Axis("data", 2), Axis("model", 3))),))),
        ("1 x v4[2x2x3]", Topology((Island("island0", "v4", (Axis("devices", 12),), (2, 2, 3)),))),
        ("1 x v5e[4x4](d=8, m=2)", Topology((Island("island0", "v5e", (Axis("d", 8), Axis("m", 2)), (4, 4)),))),
        ("1 x cpu[4] in 2 processes", Topology((Island("island0", "cpu", (Axis("devices", 4),), processes=2),))),
        ("1 x gpu[8] 1.5 GiB", Topology((Island("island0", "gpu", (Axis("devices", 8),), None, 3 * 2**29),))),
        (
            "# two\nisland left : cpu[4] # the first\n\nisland x : cpu[4];link x<->left : 2.5 GB/s, 0.5 us;",
            Topology((cpus("left"), cpus("x")), (Link("x", "left", 2_500_000_000, 500),)),
        ),
        (
            "link island1 <-> island0 : 1 B/s, 0 ns\r\n2 x cpu[4]",
            Topology((cpus("island0"), cpus("island1")), (Link("island1", "island0", 1, 0),)),
        ),
    ],
)
def test_a_text_has_a_value(text, value):
    assert topology(text) == value
    assert topology(str(value)) == value


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        (" 2xcpu[ devices = 4 ] ", "2 x cpu[4]"),
        ("island island0 : cpu[4]", "1 x cpu[4]"),
        ("1 x v4[devices=8]", "1 x v4[devices=8]"),
        ("2 x cpu[4] 1024 MiB\nlink island0 <-> island1 : 2.5 GB/s, 1000 us",
         "2 x cpu[4] 1 GiB\nlink island0 <-> island1 : 2500 MB/s, 1 ms"),
        ("island a : cpu[4]; island b : gpu[2]", "island a : cpu[4]\nisland b : gpu[2]"),
    ],
)  # fmt: skip
def test_the_canonical_text(text, canonical):
    assert str(topology(text)) == canonical


def test_sizes():
    assert [island.size for island in topology("2 x v4[16x16x12](data=256, model=12)").islands] == [3072, 3072]


def test_links_serve_both_directions_and_have_a_default():
    parsed = topology("3 x cpu[4]\nlink island0 <-> island1 : 25 GB/s, 1 ms")
    written = Link("island0", "island1", 25_000_000_000, 1_000_000)
    assert parsed.link("island0", "island1") == parsed.link("island1", "island0") == written
    assert parsed.link("island0", "island2") == Link("island0", "island2", DEFAULT_BANDWIDTH, DEFAULT_LATENCY)
    with pytest.raises(TopologyError, match="no island is called 'island9'; did you mean"):
        parsed.link("island0", "island9")


def test_what_devices_were_measured_to_do():
    text = "3 x cpu[4]\nlink island0 <-> island1 : 25 GB/s, 1 ms\nrates cpu : 2500 Mop/s, 9 GB/s, "
    text += "800 Mop/s in convolutions, 1300 MB/s reordered, 700 MB/s beyond 8 MiB, 120 us a task, 1.6 at once"
    parsed = topology(text)
    assert str(parsed) == text
    assert parsed.rates_of("cpu") == Rates(
        "cpu",
        2_500_000_000,
        9 * 10**9,
        convolutions=800_000_000,
        reordering=1_300_000_000,
        across=700_000_000,
        reach=8 * 2**20,
        task=120_000,
        at_once=Fraction("1.6"),
    )
    assert parsed.rates_of("gpu") is None
    assert parsed.only(["island1"]).rates == parsed.rates
    assert topology("1 x gpu[1]; rates gpu : 100 Top/s, 2 TB/s").rates[0].at_once is None
    shorter = "1 x cpu[1]\nrates cpu : 1 Gop/s, 1 GB/s, 2 GB/s reordered, 3 us a task"
    assert str(topology(shorter)) == shorter
    assert topology(shorter).rates[0].reach is None


@pytest.mark.parametrize(
    "given", [{"across": 1}, {"reach": 1}, {"across": 1, "reach": 1}, {"reordering": 1, "reach": 1}]
)
def test_rates_that_no_text_says(given):
    with pytest.raises(TopologyError, match="what is read across its order has no rate of its own"):
        Rates("cpu", 1, 1, **given)


def test_what_all_other_links_are():
    text = "3 x cpu[4]\nlink * <-> * : 5 TB/s, 20 us\nlink island0 <-> island1 : 25 GB/s, 1 ms"
    parsed = topology(text)
    assert str(parsed) == text
    assert parsed.link("island1", "island0") == Link("island0", "island1", 25_000_000_000, 1_000_000)
    assert parsed.link("island0", "island2") == Link("island0", "island2", 5 * 10**12, 20_000)
    assert parsed.only(["island2", "island0"]).link("island2", "island0").bandwidth == 5 * 10**12


# Errors. Each row: the text, the line and column of the caret, what is wrong, the remedy.

KINDS = "known are cpu, gpu, v4, v5e, v5p, v6e, tpu7x"
SHARES = "write a number of processes that divides the number of devices"
OPERATIONS = "known are op/s, kop/s, Mop/s, Gop/s, Top/s"
UNITS = "known are B, kB, KiB, MB, MiB, GB, GiB, TB, TiB"
SIZE = "write how many islands and how many devices in each, as in 2 x cpu[4]"
LEAST = "it must be at least 1"
ERRORS = [
    ("", (1, 1), "there are no islands", "write for example 2 x cpu[4]"),
    ("cpu", (1, 1), "the size of 'cpu' is missing", SIZE),
    ("cpu[4]", (1, 1), "the number of islands is missing", "for one of them, write 1 x cpu[4]"),
    ("2 x cpu", (1, 5), "the size of 'cpu' is missing", SIZE),
    ("0 x cpu[4]", (1, 1), "the number of islands is too small", LEAST),
    ("-3 x cpu[4]", (1, 1), "the number of islands is too small", LEAST),
    ("4097 x cpu[4]", (1, 1), "the number of islands is too large", "it must be at most 4096"),
    ("2 x cpu[0]", (1, 9), "the number of devices is too small", LEAST),
    ("2 x cpu[a=0]", (1, 11), "axis 'a' is too small", LEAST),
    ("1 x v4[65536x65536x1]", (1, 5), "an island has at most 2147483648 devices", "use more islands"),
    ("1 x cpu[a=65536, b=65536]", (1, 5), "an island has at most 2147483648 devices", "use more islands"),
    ("2 x cpuu[4]", (1, 5), "unknown kind 'cpuu'", f"did you mean 'cpu'? {KINDS}"),
    ("2 x abacus[4]", (1, 5), "unknown kind 'abacus'", KINDS),
    ("2 x cpu[a=2, a=2]", (1, 5), "axis 'a' is there twice", "give each axis its own name"),
    ("2 x cpu[2x2]", (1, 5), "cpu has no physical shape", "write cpu[4], or name the axes: cpu[data=2, model=2]"),
    ("2 x v4[4]", (1, 5), "the physical shape of v4 has 3 dimensions, not 1", "write for example v4[2x2x4]"),
    ("2 x v6e[2x2x2]", (1, 5), "the physical shape of v6e has 2 dimensions, not 3", "write for example v6e[4x4]"),
    ("2 x v6e[2x2](a=8)", (1, 5), "the physical shape has 4 devices, the logical mesh 8", "make the products equal"),
    ("2 x cpu[4] in 3 processes", (1, 5), "3 processes cannot share 4 devices equally", SHARES),
    ("2 x cpu[4] in 0 processes", (1, 15), "the number of processes is too small", "it must be at least 1"),
    ("2 x cpu[4] in 2", (1, 16), "unexpected end of the text", "expected 'processes'"),
    ("2 x cpu[4] 2 GIB", (1, 14), "unknown unit 'GIB'", f"did you mean 'GiB'? {UNITS}"),
    ("2 x cpu[4] 0.3 B", (1, 12), "0.3 B is not a whole number of B", "write it in a smaller unit"),
    ("2 x cpu[4] 0 B", (1, 5), "the memory of a device is too small", LEAST),
    ("9" * 40 + " x cpu[4]", (1, 1), "the number has 40 digits", "write at most 30"),
    ("2 x cpu[4] " + "9" * 40 + " B", (1, 12), "the number has 40 digits", "write at most 30"),
    ("2 x cpu[4", (1, 10), "unexpected end of the text", "expected one of: ']', 'x'"),
    ("2 x\nlink a <-> b", (1, 4), "unexpected end of the line", "expected a name"),
    ("2 cpu[4]", (1, 3), "unexpected 'cpu'", "expected 'x'"),
    ('2 x "cpu"[4]', (1, 5), "a string is not closed, or not expected here", "expected a name"),
    ("2 x cpu[4]; link * <-> * : 0 B/s, 1 ms", (1, 13), "the bandwidth in B/s is too small", LEAST),
    (
        "2 x cpu[4]; link * <-> * : 1 B/s, 1 ms; link * <-> * : 1 B/s, 1 ms",
        (1, 41),
        "the other links are written twice",
        "write one `link * <-> *`",
    ),
    ("2 x cpu[4]; rates cpu : 1 GB/s, 1 GB/s", (1, 27), "unknown unit 'GB/s'", f"did you mean 'Gop/s'? {OPERATIONS}"),
    (
        "2 x cpu[4]; rates cpo : 1 Gop/s, 1 GB/s",
        (1, 19),
        "rates of the unknown kind 'cpo'",
        f"did you mean 'cpu'? {KINDS}",
    ),
    (
        "2 x cpu[4]; rates cpu : 1 Gop/s, 1 GB/s, 1 GB/s reordered, 1 GB/s beyond 0 B",
        (1, 19),
        "the bytes beyond which another order takes longer is too small",
        LEAST,
    ),
    (
        "1 x gpu[4]; rates gpu : 1 Top/s, 1 TB/s, 1 GB/s reordered",
        (1, 19),
        "devices of kind gpu put nothing in another order before they multiply",
        "leave out what is `reordered`",
    ),
    ("2 x cpu[4]; rates cpu : 0 Gop/s, 1 GB/s", (1, 19), "the operations a second is too small", LEAST),
    (
        "2 x cpu[4]; rates cpu : 1 Gop/s, 1 GB/s, 0.5 at once",
        (1, 19),
        "all devices of kind cpu together do less than one of them",
        "write 1 or more at once, or leave it out",
    ),
    (
        "2 x cpu[4]; rates cpu : 1 Gop/s, 1 GB/s; rates cpu : 1 Gop/s, 1 GB/s",
        (1, 48),
        "rates of cpu are written twice",
        "write them once for all islands",
    ),
    ("island a : cpu[4]; island a : cpu[4]", (1, 27), "island 'a' is there twice", "give each island its own name"),
    (
        "2 x cpu[4]; island a : cpu[4]",
        (1, 1),
        "a count stands beside other islands",
        "write a line like island left : cpu[4] for each",
    ),
    (
        "2 x cpu[4]\nlink island0 <-> b : 1 B/s, 1 s",
        (2, 6),
        "a link to unknown island 'b'",
        "known are island0, island1",
    ),
    ("1 x cpu[4]\nlink a <-> a : 1 B/s, 1 s", (2, 6), "a link from 'a' to itself", "link two different islands"),
    (
        "2 x cpu[4];link island0 <-> island1 : 1 B/s, 1 s;link island1 <-> island0 : 1 B/s, 1 s",
        (1, 55),
        "islands 'island1' and 'island0' are linked twice",
        "write one link; it serves both directions",
    ),
    ("2 x cpu[4];link island0 <-> island1 : 0 B/s, 1 s", (1, 17), "the bandwidth in B/s is too small", LEAST),
    (
        "2 x cpu[4];link island0 <-> island1 : 1 B/s, 1.5 ns",
        (1, 46),
        "1.5 ns is not a whole number of ns",
        "write it in a smaller unit",
    ),
    ("2 x cpu[4];link island0 <-> island1 : 1 B/s, 1 h", (1, 48), "unknown unit 'h'", "known are ns, us, ms, s"),
]


@pytest.mark.parametrize(("text", "place", "what", "remedy"), ERRORS)
def test_a_fault_in_a_text(text, place, what, remedy):
    with pytest.raises(TopologyError) as caught:
        topology(text)
    line, column = place
    excerpt = f"  {(text.splitlines() or [''])[line - 1]}\n  {' ' * (column - 1)}^"
    assert caught.value.message == f"topology text, line {line}, column {column}: {what}; {remedy}\n{excerpt}"


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Axis("a b", 2), "'a b' cannot be the name of an axis; names are letters"),
        (lambda: Axis("a", 0), "axis 'a' is too small; it must be at least 1"),
        (lambda: Axis("a", True), "axis 'a' must be a whole number, not bool"),
        (lambda: Axis("a", 2.0), "axis 'a' must be a whole number, not float"),
        (lambda: Axis("a", 10**5000), "axis 'a' is too large"),
        (lambda: Island("a", "cpu", ()), "an island needs at least one axis"),
        (lambda: Island("a", "cpu", (4,)), "'4' is no axis"),
        (lambda: Island("a", None, (Axis("a", 2),)), "unknown kind 'None'"),
        (lambda: Island("", "cpu", (Axis("a", 2),)), "'' cannot be the name of an island"),
        (lambda: Island("a", "v4", (Axis("a", 1),), (1, 1, 0)), "a physical dimension is too small"),
        (lambda: Link("a", "b", 0, 0), "the bandwidth in B/s is too small"),
        (lambda: Link("a", "b", 1, -1), "the latency in ns is too small"),
        (lambda: Topology(()), "there are no islands"),
        (lambda: Topology((cpus("a"), cpus("a"))), "island 'a' is there twice"),
        (lambda: Topology((cpus("a"),), (Link("a", "b"),)), "a link to unknown island 'b'; known are a"),
        (lambda: Topology(tuple(cpus(f"i{n}") for n in range(4097))), "there are more than 4096 islands"),
        (lambda: topology(None), "a topology is made of a text or of a list of devices for each island, not None"),
        (lambda: topology([["cpu"]]), "'cpu' is no device"),
        (lambda: topology([[]]), "island 'island0' has devices of 0 kinds: it is empty"),
        (lambda: Topology.from_devices({}), "there are no islands"),
        (lambda: Topology.from_devices([]), "from_devices takes a dict of meshes, not list"),
        (lambda: Topology.from_devices({"a": 3}), "island 'a' is no jax.sharding.Mesh"),
    ],
)
def test_a_fault_in_a_value(make, sentence):
    with pytest.raises(TopologyError) as caught:
        make()
    assert told(caught.value).startswith(sentence)


# Real devices.


def test_a_list_of_devices_makes_an_island():
    device = jax.devices("cpu")[0]
    made = topology([[device]])
    assert made == topology("1 x cpu[1]")
    assert made.meshes == (jax.sharding.Mesh(numpy.array([device]), ("devices",)),)
    with pytest.raises(TopologyError, match="is in island 'island0' and in 'island1'; give each device to one island"):
        topology([[device], [device]])


def test_a_mesh_makes_an_island():
    mesh = jax.sharding.Mesh(numpy.array(jax.devices("cpu")[:1]).reshape(1, 1), ("data", "model"))
    made = Topology.from_devices({"left": mesh})
    assert made == topology("island left : cpu[data=1, model=1]")
    assert made.meshes == (mesh,)
    assert "mesh" not in repr(made)


class FakeDevice:
    def __init__(self, platform, device_kind):
        self.platform = platform
        self.device_kind = device_kind


class FakeMesh:
    """A mesh of devices that this machine does not have."""

    def __init__(self, *devices):
        self.devices = numpy.array(devices, dtype=object)
        self.shape = {"devices": len(devices)}


@pytest.mark.parametrize(
    ("platform", "device_kind", "kind"),
    [
        ("gpu", "NVIDIA H200", "gpu"),
        ("tpu", "TPU v4", "v4"),
        ("tpu", "TPU v5 lite", "v5e"),
        ("tpu", "TPU v5", "v5p"),
        ("tpu", "TPU v6 lite", "v6e"),
        ("tpu", "TPU7x", "tpu7x"),
    ],
)
def test_the_kind_of_a_device(platform, device_kind, kind):
    island = island_of_mesh("a", FakeMesh(FakeDevice(platform, device_kind)))
    assert island == Island("a", kind, (Axis("devices", 1),))
    assert topology(str(Topology((island,)))) == Topology((island,))


def test_devices_that_make_no_island():
    with pytest.raises(TopologyError, match="is of unknown kind 'TPU v2'; known are cpu"):
        island_of_mesh("a", FakeMesh(FakeDevice("tpu", "TPU v2")))
    with pytest.raises(TopologyError, match="island 'a' has devices of 2 kinds: cpu, gpu"):
        island_of_mesh("a", FakeMesh(FakeDevice("cpu", "cpu"), FakeDevice("gpu", "H200")))


# Properties.

names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.-]{0,8}", fullmatch=True)
sizes = st.integers(1, 20)
amounts = st.integers(1, 2**40) | st.sampled_from([2**30, 10**9, 3 * 10**6, 2**20 * 10**3])


@st.composite
def islands(draw, name):
    kind = draw(st.sampled_from(["cpu", "gpu", *PHYSICAL_RANK]))
    memory = draw(st.none() | amounts)
    if kind in PHYSICAL_RANK and draw(st.booleans()):
        rank = PHYSICAL_RANK[kind]
        shape = tuple(draw(st.lists(sizes, min_size=rank, max_size=rank)))
        name_of_axis = draw(names | st.just("devices"))
        return Island(
            name, kind, (Axis(name_of_axis, devices_of_slice(kind, shape)), Axis(name_of_axis + "1", 1)), shape, memory
        )
    axes = draw(
        st.lists(
            st.builds(Axis, names | st.just("devices"), sizes), min_size=1, max_size=3, unique_by=lambda axis: axis.name
        )
    )
    return Island(name, kind, tuple(axes), None, memory)


@st.composite
def topologies(draw):
    if draw(st.booleans()):
        members = [draw(islands(name)) for name in draw(st.lists(names, min_size=1, max_size=4, unique=True))]
    else:
        model = draw(islands("island0"))
        members = [
            Island(f"island{index}", model.kind, model.axes, model.shape, model.memory)
            for index in range(draw(st.integers(1, 4)))
        ]
    pairs = [(a.name, b.name) for i, a in enumerate(members) for b in members[i + 1 :]]
    linked = draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else []
    links = [Link(a, b, draw(amounts), draw(st.integers(0, 10**12))) for a, b in linked]
    return Topology(tuple(members), tuple(links))


@given(topologies())
@settings(max_examples=80, deadline=None)
def test_a_value_survives_its_text(value):
    assert topology(str(value)) == value
