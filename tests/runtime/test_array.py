"""What a user does with an `Array`."""

import copy
import math
import operator
import pickle

import jax
import numpy
import pytest
from atoll.compiler.errors import UsageError
from atoll.runtime.array import Part
from atoll.runtime.controller import Controller
from atoll.runtime.program import Buffer, Input, IslandProgram, Output, Program

import atoll


@pytest.fixture
def put(make_meshes):
    """Makes an `Array` on the left island."""
    controllers = []

    def make(value, key=None):
        value = value if key else numpy.asarray(value)
        physical = jax.random.key_data(value) if key else value
        buffer = Buffer(physical.shape, str(physical.dtype))
        island = IslandProgram("left", (("devices", 1),), (buffer,), ())
        place = ((("left", 0),),)
        given = Input("x", value.shape, str(value.dtype), places=place)
        result = Output("result['y']", value.shape, str(value.dtype), False, place)
        controllers.append(Controller(Program((island,), (), (given,), (result,)), make_meshes(names=("left",))))
        return controllers[-1].start([value])[0]

    yield make
    for controller in controllers:
        controller.close()


@pytest.fixture
def matrix(put):
    return put(numpy.arange(6, dtype="float32").reshape(2, 3))


def test_what_it_is(matrix):
    assert matrix.shape == (2, 3)
    assert matrix.dtype == numpy.float32
    assert (matrix.ndim, matrix.size, len(matrix)) == (2, 6, 2)
    assert matrix.islands == ("left",)
    assert not matrix.is_deleted()
    assert matrix.block_until_ready() is matrix
    assert repr(matrix) == "Array(float32[2, 3] on left)"
    assert f"{matrix}" == str(matrix) == "[[0. 1. 2.]\n [3. 4. 5.]]"
    assert "<th>float32[2, 3]</th>" in matrix._repr_html_()
    assert "<td>all of it</td><td>left</td>" in matrix._repr_html_()


def test_it_converts(matrix):
    plain = numpy.arange(6, dtype="float32").reshape(2, 3)
    numpy.testing.assert_array_equal(numpy.asarray(matrix), plain)
    assert numpy.asarray(matrix, dtype="int32").dtype == numpy.int32
    assert isinstance(matrix.to_jax(), jax.Array)
    assert float(jax.numpy.sum(jax.numpy.asarray(matrix))) == 15
    assert [one.tolist() for one in matrix] == plain.tolist()
    assert matrix[1, 2] == 5
    assert matrix.astype("int32").dtype == numpy.int32
    writable = numpy.array(matrix)
    writable[:] = 0
    numpy.testing.assert_array_equal(matrix, plain)


def test_arithmetic(matrix):
    plain = numpy.arange(6, dtype="float32").reshape(2, 3)
    for operate in (operator.add, operator.sub, operator.mul, operator.pow, operator.lt, operator.eq):
        numpy.testing.assert_array_equal(operate(matrix, 2), operate(plain, 2))
        numpy.testing.assert_array_equal(operate(matrix, matrix), operate(plain, plain))
    numpy.testing.assert_array_equal(1 - matrix, 1 - plain)
    numpy.testing.assert_array_equal(plain + matrix, plain + plain)
    numpy.testing.assert_array_equal(jax.numpy.ones((2, 3)) + matrix, plain + 1)
    numpy.testing.assert_array_equal(matrix @ plain.T, plain @ plain.T)
    numpy.testing.assert_array_equal(-matrix, -plain)
    numpy.testing.assert_array_equal(abs(-matrix), plain)
    assert isinstance(matrix + 1, jax.Array)


def test_a_scalar_is_a_number(put):
    scalar = put(numpy.float32(2.5))
    assert (float(scalar), int(scalar), complex(scalar), bool(scalar)) == (2.5, 2, 2.5, True)
    assert scalar.item() == 2.5
    assert f"{scalar:.2f}" == "2.50"
    assert math.isclose(scalar, 2.5)
    assert list(range(5))[put(numpy.int32(3))] == 3
    with pytest.raises(TypeError, match="an array without dimensions has no length"):
        len(scalar)


def test_an_array_of_many_values_is_no_truth_value(matrix):
    with pytest.raises(ValueError, match="ambiguous"):
        bool(matrix)


def test_it_is_not_hashed(matrix):
    with pytest.raises(TypeError, match="unhashable"):
        hash(matrix)


# What it has of a `jax.Array`.

# What tells of jax's own devices, of which an array on islands has none. The last are for array libraries, which then
# take it as a numpy array.
NOT_ITS = {
    *("addressable_data", "addressable_shards", "committed", "device", "global_shards"),
    *("is_fully_addressable", "is_fully_replicated"),
    *("__array_namespace__", "__numpy_dtype__", "__setitem__", "__slots__"),
}


def test_it_has_what_a_jax_array_has(matrix):
    there = {name for name in dir(jax.Array) if not name.startswith("_") or name.endswith("__")}
    assert there - set(dir(matrix)) <= NOT_ITS
    assert not NOT_ITS & {name for name in dir(matrix) if not name.startswith("__")}
    assert {"tolist", "is_ready", "delete", "copy_to_host_async"} <= set(dir(matrix))


@pytest.mark.parametrize(
    ("use", "expected"),
    [
        (lambda a: a.sum(axis=0), [3, 5, 7]),
        (lambda a: a.mean(), 2.5),
        (lambda a: (a.max(), a.min()), (5, 0)),
        (lambda a: a.T.shape, (3, 2)),
        (lambda a: a.reshape(3, -1).tolist(), [[0, 1], [2, 3], [4, 5]]),
        (lambda a: a.at[0, 1].set(9).tolist(), [[0, 9, 2], [3, 4, 5]]),
        (lambda a: a.dot(a.T), [[5, 14], [14, 50]]),
        (lambda a: a.clip(max=a.min() + 1), [[0, 1, 1], [1, 1, 1]]),
        (lambda a: a.sum(where=a > 2), 12),
        (lambda a: a[a.argmax() // 3], [3, 4, 5]),
        (lambda a: divmod(a, 2)[1], [[0, 1, 0], [1, 0, 1]]),
        (lambda a: round(a / 3, 1)[1, 2], 1.7),
        (lambda a: [one.tolist() for one in reversed(a)], [[3, 4, 5], [0, 1, 2]]),
        (lambda a: (a.nbytes, a.itemsize), (24, 4)),
    ],
)
def test_it_does_what_a_jax_array_does(matrix, use, expected):
    numpy.testing.assert_allclose(use(matrix), expected)


def test_what_is_about_devices_of_jax_is_told_apart(matrix):
    with pytest.raises(
        AttributeError, match=r"no device; .islands, .sharding and .parts say .* write .to_jax\(\).device$"
    ):
        _ = matrix.device
    with pytest.raises(AttributeError, match=r"no summ$"):
        _ = matrix.summ


def test_functions_of_jax_refuse_it(matrix):
    """As docs/programs.md says; should jax take it one day, the page can go."""
    for use in (jax.numpy.sum, jax.jit(lambda x: x), jax.device_put):
        with pytest.raises((ValueError, TypeError), match="__jax_array__"):
            use(matrix)
    assert float(jax.numpy.sum(atoll.to_jax({"m": matrix})["m"])) == 15


def test_it_says_how_its_island_holds_it(matrix):
    sharding = matrix.sharding["left"]
    assert isinstance(sharding, jax.sharding.NamedSharding)
    assert sharding.mesh.shape == {"devices": 1}
    assert sharding.spec == jax.sharding.PartitionSpec()


def test_it_is_ready_once_it_is_computed(matrix):
    matrix.copy_to_host_async()
    matrix.block_until_ready()
    assert matrix.is_ready()


def test_what_is_read_of_a_part_is_not_kept():
    """Or all parts of a large value would be in this process in the end."""
    mesh = jax.make_mesh((2,), ("x",), (jax.sharding.AxisType.Auto,), devices=jax.devices()[:2])
    value = jax.device_put(numpy.arange(4), jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("x")))
    assert Part((slice(None),), ("left",), (lambda: value,)).read().tolist() == [0, 1, 2, 3]
    assert value._npy_value is None
    numpy.asarray(value)
    assert value._npy_value is not None  # as jax does it


# Copies, and what is let go of.


@pytest.mark.parametrize("make", [copy.copy, copy.deepcopy, lambda a: a.copy()])
def test_a_copy_stays_where_it_is_and_outlives_the_other(matrix, make):
    other = make(matrix)
    assert type(other) is type(matrix)
    assert other.islands == ("left",)
    matrix.delete()
    assert matrix.is_deleted()
    assert repr(matrix) == "Array(float32[2, 3] deleted)"
    assert matrix._repr_html_() == "<pre>Array(float32[2, 3] deleted)</pre>"
    with pytest.raises(UsageError, match=r"^\S+: result\['y'\] was deleted; keep it for as long as it is needed\n"):
        matrix.to_jax()
    with pytest.raises(UsageError, match="was deleted"):
        make(matrix)
    assert float(other.sum()) == 15


def test_it_is_pickled_by_value(put, matrix):
    back = pickle.loads(pickle.dumps({"m": matrix}))["m"]
    assert isinstance(back, jax.Array)
    numpy.testing.assert_array_equal(back, numpy.asarray(matrix))
    key = jax.random.key(7)
    back = pickle.loads(pickle.dumps(put(key, key=True)))
    assert back.dtype == key.dtype
    assert (jax.random.key_data(back) == jax.random.key_data(key)).all()


def test_another_value_is_put_where_it_is_or_was(put, matrix):
    matrix.delete()
    (found,) = atoll.from_jax([numpy.ones((2, 3))], like=[matrix])  # in float64, which the island does not have
    assert (found.islands, found.dtype, float(found.sum())) == (("left",), numpy.float32, 6)
    key = put(jax.random.key(7), key=True)
    (found,) = atoll.from_jax([jax.random.key(8)], like=[key])
    assert (jax.random.key_data(found.to_jax()) == jax.random.key_data(jax.random.key(8))).all()
    tree = atoll.from_jax({"a": key, "b": 3}, like={"a": key, "b": 4})
    assert (tree["a"].islands, tree["b"]) == (("left",), 3)


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({}, r"the tree has no tree\['w'\], which in `like` is float32\[2, 3\]; give a `like` of the same tree"),
        ({"w": numpy.ones(3)}, r"tree\['w'\] is float64\[3\] in the tree, but float32\[2, 3\] in `like`; give"),
        (
            {"w": numpy.ones((2, 3)), "x": 1},
            r"the tree has tree\['x'\], which is int64\[\], and `like` has no such leaf",
        ),
        ({"w": "x"}, r"tree\['w'\] is a str, not an array or a number; leave it out"),
    ],
)
def test_trees_that_differ_are_told_at_their_first_path(matrix, tree, message):
    with pytest.raises(UsageError, match=rf"test_array.py:\d+: {message}"):
        atoll.from_jax(tree, like={"w": matrix})


def test_from_jax_needs_to_know_where(matrix):
    with pytest.raises(UsageError, match=r"test_array.py:\d+: from_jax needs `like`, which says where values go; give"):
        atoll.from_jax({"w": matrix})


@pytest.mark.parametrize("kind", ["threefry2x32", "rbg", "unsafe_rbg"])
@pytest.mark.parametrize("shape", [(), (3,)])
def test_typed_keys_pass(put, kind, shape):
    key = jax.random.key(7, impl=kind)
    key = jax.random.split(key, shape) if shape else key
    array = put(key, key=True)
    assert (array.shape, array.dtype) == (key.shape, key.dtype)
    back = array.to_jax()
    assert back.dtype == key.dtype
    numpy.testing.assert_array_equal(jax.random.key_data(back), jax.random.key_data(key))
    with pytest.raises(TypeError, match="is a typed random key, which numpy does not know; convert it"):
        numpy.asarray(array)
    array.block_until_ready()


def test_keys_of_another_kind_are_refused(put, make_meshes):
    array = put(jax.random.key(0), key=True)
    buffer = Buffer((4,), "uint32")
    island = IslandProgram("left", (("devices", 1),), (buffer,), ())
    program = Program((island,), (), (Input("k", (), "key<rbg>", places=((("left", 0),),)),), ())
    with Controller(program, make_meshes(names=("left",))) as controller:
        for key in (array, jax.random.key(0)):
            with pytest.raises(
                UsageError, match=r"^\S+: k is key<fry>\[\], but the step was compiled for key<rbg>\[\]"
            ):
                controller.start([key])
        controller.start([jax.random.key(0, impl="rbg")])


def test_weak_types_are_told_apart(make_meshes):
    scalar = Buffer((), "float32")
    island = IslandProgram("left", (("devices", 1),), (scalar,), ())
    for weak, good, bad in ((True, 2.0, numpy.float32(2)), (False, numpy.float32(2), 2.0)):
        given = Input("rate", (), "float32", weak_type=weak, places=((("left", 0),),))
        result = Output("result", (), "float32", weak, given.places)
        with Controller(Program((island,), (), (given,), (result,)), make_meshes(names=("left",))) as controller:
            (found,) = controller.start([good])
            assert (float(found), found.weak_type) == (2, weak)
            controller.start([found])
            told = "compile with" if weak else "pass"
            with pytest.raises(
                UsageError,
                match=r"^\S+: rate is (a Python number|an array with).*, but the step was compiled for .*: "
                rf'{told} jax.numpy.asarray\(value, "float32"\)',
            ):
                controller.start([bad])


def test_an_argument_of_either_kind(make_meshes):
    scalar = Buffer((), "float32")
    island = IslandProgram("left", (("devices", 1),), (scalar,), ())
    given = Input("rate", (), "float32", weak_type=True, places=((("left", 0),),), either=True)
    program = Program((island,), (), (given,), (Output("result", (), "float32", False, given.places),))
    with Controller(program, make_meshes(names=("left",))) as controller:
        for value in (2.0, numpy.float32(2), *controller.start([2.0])):
            assert float(controller.start([value])[0]) == 2
        with pytest.raises(UsageError, match=r"^\S+: rate is int32\[\], but the step was compiled for float32\[\]"):
            controller.start([2])
