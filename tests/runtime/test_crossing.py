"""Values that two islands divide unlike: what crosses, that nobody waits for it, and that the answer is right."""

import random
import threading

import jax
import ml_dtypes
import numpy
import pytest
from atoll.compiler.emit.resharding import End, crossing
from atoll.compiler.emit.routes import reshard_code
from atoll.compiler.mlir.bindings import new_context
from atoll.runtime.check import check
from atoll.runtime.controller import Controller
from atoll.runtime.crossing import mover
from atoll.runtime.fragment import sharding_of
from atoll.runtime.program import Buffer, Free, Input, IslandProgram, Output, Program, Receive, Run, Send
from atoll.runtime.program_file import from_bytes, to_bytes

MESHES = ({"a": 1}, {"a": 2}, {"a": 3}, {"a": 4}, {"a": 2, "b": 2}, {"a": 1, "b": 4}, {"b": 4, "a": 1})
ELEMENTS = {
    "float32": "f32",
    "bfloat16": "bf16",
    "float8_e4m3fn": "f8E4M3FN",
    "bool": "i1",
    "int4": "i4",
    "uint32": "ui32",
    "complex64": "complex<f32>",
}
RIGHT = {"a": 2, "b": 2}
SHAPES = ((), (12,), (12, 8), (4, 3, 8), (0, 4), (1, 12), (5,))


def mesh_of(axes, first):
    devices = numpy.array(jax.devices()[first : first + numpy.prod(list(axes.values()))])
    return jax.sharding.Mesh(devices.reshape(list(axes.values())), list(axes))


def any_spec(draw, axes, shape):
    spec = [[] for _ in shape]
    for axis in draw.sample(list(axes), len(axes)):
        dimension = draw.randrange(-1, len(shape))
        if dimension >= 0 and shape[dimension] % numpy.prod([axes[one] for one in (*spec[dimension], axis)]) == 0:
            spec[dimension].append(axis)
    return tuple(map(tuple, spec)) if any(spec) else ()


def program_of(left, right, shape, dtype, specs):
    """An argument of island `left` is a result of island `right`, with the tasks that its crossing needs."""
    ends = [End(tuple(axes.items()), spec) for axes, spec in zip((left, right), specs, strict=True)]
    found = crossing(*ends, shape)
    before, sent, received, after = (
        Buffer(shape, dtype, spec) for spec in (specs[0], found.sent, found.received, specs[1])
    )
    codes, instructions = [], []
    for at, (one, other) in enumerate([(before, sent), (received, after)]):
        runs = []
        if one != other:
            runs.append(Run(f"R{at}", len(codes), (0,), (1,)))
            codes.append(reshard_code(one, other, ELEMENTS[dtype], new_context()))
            runs.append(Free((0,)))
        instructions.append(runs)
    last = [len(runs) // 2 for runs in instructions]
    return Program(
        (
            IslandProgram("left", ends[0].axes, (before, sent), (*instructions[0], Send(last[0], "right", 0))),
            IslandProgram("right", ends[1].axes, (received, after), (Receive(0, "left", 0), *instructions[1])),
        ),
        tuple(codes),
        (Input("x", shape, dtype, places=((("left", 0),),)),),
        (Output("y", shape, dtype, False, ((("right", last[1]),),)),),
    )


@pytest.mark.one_in(3)
@pytest.mark.parametrize("seed", range(24))
def test_any_value_crosses_as_it_is(seed, request):
    draw = random.Random(seed + request.config.getoption("first_seed"))
    left, right = draw.choice(MESHES), draw.choice(MESHES)
    shape, dtype = draw.choice(SHAPES), draw.choice(list(ELEMENTS))
    program = program_of(left, right, shape, dtype, [any_spec(draw, axes, shape) for axes in (left, right)])
    check(program)
    assert from_bytes(to_bytes(program)) == program
    kind = numpy.dtype(getattr(ml_dtypes, dtype, dtype))
    with Controller(program, {"left": mesh_of(left, 0), "right": mesh_of(right, 4)}) as controller:
        for step in range(2):
            x = numpy.random.default_rng([seed, step]).integers(0, 7, shape).astype(kind)
            (y,) = controller.start([x])
            assert numpy.asarray(y).tobytes() == x.tobytes()
            assert controller.stats().bytes_per_link == {("left", "right"): x.nbytes}


def test_nothing_crosses_as_nothing():
    """Parts of nothing are not told apart by where they are."""
    x = numpy.zeros((0, 4), "float32")
    source = sharding_of(Buffer(x.shape, "float32"), mesh_of({"a": 4}, 0))
    target = sharding_of(Buffer(x.shape, "float32", (("a",), ("b",))), mesh_of(RIGHT, 4))
    assert mover(source, target)(jax.device_put(x, source)).sharding == target


# A source that is not computed before `put` has returned.


@pytest.mark.one_in(3)
@pytest.mark.parametrize(
    ("left", "sent", "right", "received"),
    [
        ({"a": 4}, (("a",),), {"a": 4}, (("a",),)),
        ({"a": 4}, (("a",), ()), RIGHT, ((("a", "b")), ())),
        ({"a": 4}, (("a:(1)2",), ("a:(2)2",)), RIGHT, (("a",), ("b",))),
        ({"a": 4}, (("a:(2)2",), ("a:(1)2",)), RIGHT, (("a",), ("b",))),
        ({"a": 4}, (("a:(1)2",), ()), {"a": 2}, (("a",), ())),
        ({"a": 2}, (("a",), ()), RIGHT, (("a",), ())),  # with copies
        ({"a": 2}, (("a",), ()), {"a": 4}, (("a",), ())),  # finer
        ({"a": 2}, (("a",), ()), {"a": 4}, (("a:(1)2",), ("a:(2)2",))),
        ({"a": 2, "b": 2}, (("a",), ()), RIGHT, (("b",), ("a",))),
        ({"a": 4}, (), {"a": 3}, (("a",), ())),
        ({"a": 4}, (), {"a": 4}, ()),
        ({"a": 4}, (), {"a": 1}, ()),
        ({"a": 1}, (), {"a": 4}, ()),
        ({"a": 1}, (), {"a": 4}, (("a",), ())),
        ({"a": 1}, (), {"a": 4}, (("a:(1)2",), ())),
        ({"a": 1}, (), {"a": 1}, ()),
    ],
)
def test_nobody_waits_for_what_crosses(left, sent, right, received):
    source = sharding_of(Buffer((12, 4), "float32", sent), mesh_of(left, 0))
    target = sharding_of(Buffer((12, 4), "float32", received), mesh_of(right, 4))
    x = numpy.arange(48, dtype="float32").reshape(12, 4)
    put = mover(source, target)
    put(jax.device_put(x, source))  # what jax compiles for it
    put_has_returned = threading.Event()
    late = late_array(x, source, put_has_returned)
    assert not late.is_ready()
    moved = put(late)
    waited = late.is_ready()
    put_has_returned.set()
    numpy.testing.assert_array_equal(moved, x)
    assert moved.sharding == target
    assert not waited


def late_array(x, sharding, event):
    """An array that is there once an event has happened.

    Devices 6 and 7 wait for it: a device alone would make its caller wait.
    """
    waiting = jax.sharding.NamedSharding(mesh_of({"a": 2}, 6), jax.sharding.PartitionSpec())

    def wait(one):
        assert event.wait(30)
        return one

    jitted = jax.jit(
        lambda one: jax.pure_callback(wait, jax.ShapeDtypeStruct(x.shape, x.dtype), one), out_shardings=waiting
    )
    late = jitted(jax.device_put(x, waiting)).addressable_shards[0].data
    return jax.device_put(late, sharding)
