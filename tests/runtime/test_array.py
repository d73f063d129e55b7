"""What a user does with an `Array`."""

import copy
import math
import operator
import pickle

import jax
import numpy
import pytest
from atoll.compiler.errors import UsageError
from atoll.runtime.controller import Controller
from atoll.runtime.program import Buffer, Input, IslandProgram, Output, Program


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


def test_it_is_not_hashed_or_pickled(matrix):
    with pytest.raises(TypeError, match="unhashable"):
        hash(matrix)
    for use in (pickle.dumps, copy.deepcopy):
        with pytest.raises(
            TypeError, match=r"^result\['y'\] lives on an island and cannot be pickled; pickle numpy.asarray"
        ):
            use(matrix)


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
            with pytest.raises(UsageError, match=r"^k is key<fry>\[\], but the step was compiled for key<rbg>\[\]"):
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
                match=r"^rate is (a Python number|an array with).*, but the step was compiled for .*: "
                rf'{told} jax.numpy.asarray\(value, "float32"\)$',
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
        with pytest.raises(UsageError, match=r"^rate is int32\[\], but the step was compiled for float32\[\]"):
            controller.start([2])
