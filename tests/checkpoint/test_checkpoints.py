"""What a user does with checkpoints of arrays that are on no island."""

import itertools
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy
import orbax.checkpoint as ocp
import pytest
from atoll.checkpoint import on_orbax, saving
from atoll.checkpoint.conveyor import Conveyor, Crate
from atoll.checkpoint.manifest import LeafEntry, LeafPart, to_json
from atoll.checkpoint.saving import wait_for_saving
from atoll.checkpoint.writing_islands import WritingIslands
from atoll.compiler.errors import AtollError, UsageError
from atoll.runtime.leaves import LeafKind

import atoll


class Moments(NamedTuple):
    mean: Any
    square: Any


def state():
    w = numpy.arange(12, dtype="float32").reshape(3, 4)
    moments = Moments({"w": w / 2}, {"w": jnp.asarray(w * 2, "bfloat16")})
    return {"params": {"w": w}, "opt": (moments, None, {}), "step": jnp.int32(7), "rate": 0.5, "epoch": 3}


def saved(directory, tree, step=1, **kwargs):
    atoll.save_checkpoint(directory, step, tree, **kwargs).wait()
    return directory


def names(directory):
    return sorted(path.name for path in directory.iterdir())


def assert_same(found, expected):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        ours, theirs = numpy.asarray(ours), numpy.asarray(theirs)
        assert (ours.dtype, ours.shape, ours.tobytes()) == (theirs.dtype, theirs.shape, theirs.tobytes())


# There and back.


def test_a_state_comes_back_as_its_like_is(tmp_path, caplog):
    saved(tmp_path, state())
    found = atoll.load_checkpoint(tmp_path, like=state())
    assert_same(found, state())
    assert [type(leaf) for leaf in jax.tree.leaves(found)] == [type(leaf) for leaf in jax.tree.leaves(state())]
    found = atoll.load_checkpoint(tmp_path, like=jax.eval_shape(state))
    assert_same(found["opt"], state()["opt"])
    assert (found["rate"], found["epoch"]) == (0.5, 3)  # as weakly typed as they were
    assert isinstance(found["step"], numpy.ndarray)
    assert not caplog.records  # orbax has nothing to warn of


def test_the_last_step_is_loaded_or_a_named_one(tmp_path):
    for step in (3, 20, 100):
        atoll.save_checkpoint(tmp_path, step, {"n": numpy.array(step)})
    assert atoll.checkpoint_steps(str(tmp_path)) == (3, 20, 100)
    assert atoll.load_checkpoint(tmp_path, like={"n": 0})["n"] == 100
    assert atoll.load_checkpoint(tmp_path, like={"n": 0}, step=20)["n"] == 20


def test_numbers_are_those_of_the_moment(tmp_path):
    w, x = numpy.zeros(1000), jnp.zeros(1000)
    writing = atoll.save_checkpoint(tmp_path, 1, {"w": w, "x": x})
    w += 1
    x.delete()
    writing.wait()
    assert writing.is_done
    assert not atoll.load_checkpoint(tmp_path, like={"w": w, "x": w})["w"].any()


def test_some_are_kept_and_one_is_replaced(tmp_path):
    for step in (1, 2, 3, 2):
        saved(tmp_path, {"n": numpy.array(10 * step)}, step, keep=2)
    saved(tmp_path, {"n": numpy.array(5)}, 3)
    assert names(tmp_path) == ["2", "3"]
    assert [int(atoll.load_checkpoint(tmp_path, like={"n": 0}, step=step)["n"]) for step in (2, 3)] == [20, 5]


@pytest.mark.parametrize("at", ["complete", "old-one-away"])
def test_what_was_killed_while_it_replaced_is_brought_into_place(at, tmp_path):
    saved(tmp_path, {"n": numpy.array(1)})
    saved(tmp_path / ".new", {"n": numpy.array(2)})
    if at == "old-one-away":
        (tmp_path / ".old").mkdir()
        (tmp_path / "1").rename(tmp_path / ".old" / "1")
    assert atoll.load_checkpoint(tmp_path, like={"n": 0})["n"] == 2
    saved(tmp_path, {"n": numpy.array(3)}, 2)
    assert names(tmp_path) == ["1", "2"]


DTYPES = ("bool", "int4", "uint8", "int64", "float16", "bfloat16", "float8_e4m3fn", "float64", "complex64")


def test_all_kinds_of_trees_and_numbers(tmp_path):
    tree = {
        "dtypes": {name: numpy.ones(3, name) for name in DTYPES},
        "keys": [jax.random.key(1), jax.random.split(jax.random.key(2, impl="rbg"), 3)],
        "empty": [numpy.zeros((0, 3), "float32"), (), {}, None],
        0: (numpy.float32(2), True),
        "a/b": {"..": numpy.arange(3)},
        "large": numpy.arange(1 << 18),
    }
    tree = {str(key): value for key, value in tree.items()}
    saved(tmp_path, tree)
    found = atoll.load_checkpoint(tmp_path, like=tree)
    for ours, theirs in zip(found["keys"], tree["keys"], strict=True):
        assert ours.dtype == theirs.dtype
        numpy.testing.assert_array_equal(jax.random.key_data(ours), jax.random.key_data(theirs))
    del found["keys"], tree["keys"]
    assert_same(found, tree)
    assert found["0"][1] is True


def test_a_tree_may_be_one_array(tmp_path):
    saved(tmp_path, jnp.arange(3))
    numpy.testing.assert_array_equal(atoll.load_checkpoint(tmp_path, like=jnp.zeros(3, int)), [0, 1, 2])


def test_a_like_with_a_sharding_is_filled_device_by_device(tmp_path, monkeypatch):
    w = numpy.arange(32, dtype="float32").reshape(8, 4)
    saved(tmp_path, {"w": w})
    mesh = jax.make_mesh((4,), ("x",), (jax.sharding.AxisType.Auto,), devices=jax.devices()[:4])
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("x"))
    (found,) = atoll.load_checkpoint(
        tmp_path, like={"w": jax.ShapeDtypeStruct((8, 4), "float32", sharding=sharding)}
    ).values()
    assert found.sharding == sharding
    numpy.testing.assert_array_equal(found, w)


def test_parts_that_share_a_block_are_all_there(tmp_path):
    chance = numpy.random.default_rng(0)
    numbers = chance.integers(0, 100, 3001)
    ends = [0, *sorted(chance.choice(numpy.arange(1, 3001), 20, replace=False).tolist()), 3001]
    parts = tuple(LeafPart((bounds,)) for bounds in itertools.pairwise(ends))
    entry = LeafEntry(LeafKind((3001,), "int64"), parts)
    assert entry.chunk[0] > 100  # some of it belongs to several parts
    conveyor = Conveyor(10_000)
    tree = {"w": on_orbax.OrbaxLeaf("tree['w']", entry)}
    place = on_orbax.directory_of(tmp_path)
    islands, manifest = WritingIslands(), to_json({"tree['w']": entry})
    write = partial(on_orbax.write, place, 1, tree, manifest, conveyor, islands.finish, None)
    writing = saving.Saving("it", conveyor, islands, write)
    for part in chance.permutation(numpy.array(parts, object)):
        conveyor.put(Crate("tree['w']", part.index, numbers[part.index].copy()))
    conveyor.end()
    writing.wait()
    numpy.testing.assert_array_equal(atoll.load_checkpoint(tmp_path, like={"w": numbers})["w"], numbers)


# Orbax alone.


def test_orbax_alone_reads_it(tmp_path):
    saved(tmp_path, state(), 7)
    with ocp.CheckpointManager(tmp_path) as manager:
        assert manager.latest_step() == 7
        found = manager.restore(7)
    with ocp.CheckpointManager(tmp_path) as manager:
        typed = manager.restore(7, args=ocp.args.StandardRestore(jax.eval_shape(state)))
    numpy.testing.assert_array_equal(found["params"]["w"], state()["params"]["w"])
    assert found["opt"][0]["square"]["w"].dtype == ml_dtypes.bfloat16
    assert isinstance(typed["opt"][0], Moments)
    numpy.testing.assert_array_equal(typed["opt"][0].mean["w"], state()["opt"][0].mean["w"])


def test_what_orbax_wrote_is_left_to_orbax(tmp_path):
    with ocp.CheckpointManager(tmp_path) as manager:
        manager.save(7, args=ocp.args.StandardSave({"w": numpy.ones(3)}))
    with pytest.raises(
        UsageError, match=r"7 was not written by this version's atoll.save_checkpoint; read it by orbax"
    ):
        atoll.load_checkpoint(tmp_path, like={"w": numpy.ones(3)})


# What is refused.


@pytest.mark.parametrize(
    ("like", "message"),
    [
        ({"w": jnp.ones((3, 3)), "b": 0}, r"tree\['w'\] is float32\[3, 4\] in checkpoint .*/1, but float32\[3, 3\] in"),
        (
            {"w": jnp.ones((3, 4), int), "b": 0},
            r"tree\['w'\] is float32\[3, 4\] in checkpoint .*, but int32\[3, 4\] in",
        ),
        ({"w": jnp.ones((3, 4))}, r"checkpoint .*/1 has tree\['b'\], which is int64\[\], and `like` has no such leaf"),
        (
            {"b": 0, "v": jnp.ones(1)},
            r"checkpoint .*/1 has no tree\['v'\], which in `like` is float32\[1\]; give a `like`",
        ),
        ({"b": 0.5, "w": jnp.ones((3, 4))}, r"tree\['b'\] is int64\[\] in checkpoint .*/1, but float64\[\] in `like`"),
    ],
)
def test_a_tree_that_differs_is_told_at_its_first_path(like, message, tmp_path):
    saved(tmp_path, {"w": numpy.ones((3, 4), "float32"), "b": 1})
    with pytest.raises(UsageError, match=rf"test_checkpoints.py:\d+: {message}"):
        atoll.load_checkpoint(tmp_path, like=like)


def test_a_directory_without_a_checkpoint(tmp_path):
    for place in (tmp_path, tmp_path / "nowhere"):
        assert atoll.checkpoint_steps(place) == ()
        with pytest.raises(
            UsageError, match=r"py:\d+: .* has no checkpoint; name a directory that atoll.save_checkpoint"
        ):
            atoll.load_checkpoint(place, like={})
    assert not (tmp_path / "nowhere").exists()
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"py:\d+: cannot use \S*file: Not a directory; name a directory"):
        atoll.checkpoint_steps(tmp_path / "file")
    saved(tmp_path, {"w": 1})
    with pytest.raises(UsageError, match=r"has no checkpoint of step 2; there are 1"):
        atoll.load_checkpoint(tmp_path, like={"w": 1}, step=2)
    with pytest.raises(
        UsageError, match=r"py:\d+: load_checkpoint needs `like`, which says where each leaf goes; give"
    ):
        atoll.load_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("step", "tree", "options", "message"),
    [
        (-1, {"w": 1}, {}, "step is -1; write a whole number, 0 or more"),
        (1.5, {"w": 1}, {}, "step is 1.5; write a whole number"),
        (1, {"w": 1}, {"keep": 0}, "keep is 0; write a whole number, 1 or more"),
        (1, {"w": 1}, {"room": 2.5}, "room is 2.5; write a whole number, 1 or more"),
        (1, {}, {}, "the tree has no arrays; give the state that is to be saved"),
        (1, {"w": numpy.zeros((0, 3))}, {}, "the tree has no arrays"),
        (1, {"w": "text"}, {}, r"tree\['w'\] is a str, not an array or a number; leave it out"),
        (1, {"w": numpy.array("text")}, {}, r"tree\['w'\] is a ndarray, not an array or a number"),
        (
            1,
            {"w": jax.ShapeDtypeStruct((3,), "int8")},
            {},
            r"tree\['w'\] is the description of an array; give the array",
        ),
        (1, {"w": jnp.ones(3, "uint4")}, {}, r"tree\['w'\] is uint4\[3\], which checkpoints do not hold; save it as"),
        (1, {"a.b": 1, "a": {"b": 2}}, {}, r"tree\['a'\]\['b'\] and tree\['a.b'\] would both be called 'a.b' in a"),
    ],
)
def test_what_cannot_be_saved(step, tree, options, message, tmp_path):
    with pytest.raises(UsageError, match=rf"test_checkpoints.py:\d+: {message}"):
        atoll.save_checkpoint(tmp_path, step, tree, **options)
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_told_once(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(AtollError, match=r"checkpoint .*/file/1 was not written: .*Not a directory.*; see whether"):
        atoll.save_checkpoint(tmp_path / "file", 1, {"w": 1}).wait()
    wait_for_saving(tmp_path / "file")  # which does not say so again


def test_a_failure_that_nobody_has_asked_for_is_told_by_the_next(tmp_path, monkeypatch, caplog):
    is_read = threading.Event()  # what fails before that is told by the call itself

    def fail(*_):
        assert is_read.wait(60)
        raise OSError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(on_orbax, "write", fail)
        saving = atoll.save_checkpoint(tmp_path, 1, {"w": 1})
        is_read.set()
        saving.join()
    assert "1 was not written: the disk is full" in caplog.text
    assert atoll.checkpoint_steps(tmp_path) == ()  # to read what is there is no mistake
    with pytest.raises(AtollError, match="/1 was not written: the disk is full"):
        atoll.save_checkpoint(tmp_path, 2, {"w": 1})
    saved(tmp_path, {"w": 1}, 3)


def test_numbers_that_cannot_be_read_leave_what_was_there(tmp_path, monkeypatch):
    saved(tmp_path, {"w": 1})

    def fail(*_):
        raise ArithmeticError("the task failed")

    with monkeypatch.context() as patched:
        patched.setattr(saving, "_plain", fail)
        with pytest.raises(ArithmeticError):
            atoll.save_checkpoint(tmp_path, 2, {"w": 2})
    assert atoll.checkpoint_steps(tmp_path) == (1,)
    saved(tmp_path, {"w": 3}, 3)
    assert names(tmp_path) == ["1", "3"]


def test_a_damaged_file_is_told(tmp_path):
    saved(tmp_path, {"w": numpy.arange(1 << 16)})
    for file in (tmp_path / "1" / "default").rglob("d/*"):
        file.write_bytes(b"")
    with pytest.raises(AtollError, match=r"checkpoint .*/1.* cannot be read: .*; see whether all of its files"):
        atoll.load_checkpoint(tmp_path, like={"w": numpy.arange(1 << 16)})


# The process around it.

SCRIPT = """
import sys, numpy, atoll
atoll.save_checkpoint(sys.argv[1], 5, {"w": numpy.ones(1000)})
"""

WITHOUT = """\
import sys
sys.modules["orbax.checkpoint"] = None
import atoll
try:
    atoll.save_checkpoint(".", 1, {"w": 1})
except atoll.AtollError as error:
    print(error.sentence)
try:
    atoll.load_checkpoint(".", like={"w": 1})
except atoll.AtollError as error:
    print(error.sentence)
"""


def test_python_does_not_end_before_it_is_written(tmp_path):
    ran = subprocess.run([sys.executable, "-c", SCRIPT, tmp_path], check=True, capture_output=True, text=True)
    assert ran.stderr == ""  # nor does orbax say anything
    assert atoll.checkpoint_steps(tmp_path) == (5,)


def test_without_the_extra_it_is_told_what_to_install(tmp_path):
    (tmp_path / "train.py").write_text(WITHOUT)
    ran = subprocess.run([sys.executable, "train.py"], cwd=tmp_path, check=True, capture_output=True, text=True)
    told = "checkpoints are written by orbax; pip install 'atoll[checkpoint]'"
    assert ran.stdout.splitlines() == [f"{tmp_path}/train.py:{line}: {told}" for line in (5, 9)]
    assert names(tmp_path) == ["train.py"]


@pytest.mark.own
def test_only_one_file_knows_orbax():
    root = Path(on_orbax.__file__).parent.parent
    files = [
        file for folder in ("checkpoint", "compiler", "passes", "runtime") for file in (root / folder).rglob("*.py")
    ]
    assert {file.name for file in files if "import orbax" in file.read_text()} == {"on_orbax.py"}
