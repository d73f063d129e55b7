"""Structures of pytrees as text: what comes back is the same structure, or a sentence says why not."""

import collections
import dataclasses
import enum
import json
import subprocess
import sys
from typing import NamedTuple

import equinox
import flax.core
import flax.nnx
import flax.struct
import flax.training.train_state
import jax
import optax
import pytest
from atoll.compiler.errors import CompileError, UsageError
from atoll.compiler.export.pytree_text import (
    Maker,
    TreeNode,
    describe,
    describe_result,
    difference,
    is_told_apart,
    static_data,
    unlike_data,
)

KEY = jax.random.key(0)


class Metrics(NamedTuple):
    loss: object
    accuracy: object


@flax.struct.dataclass
class Tagged:
    value: object
    tag: str = flax.struct.field(pytree_node=False, default="a")


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Setting:
    depth: int


def shapes_of(module, *sizes):
    """The parameters of a module of Equinox, without numbers: each process that collects tests would compile these."""
    made = equinox.filter_eval_shape(module, *sizes, key=KEY)
    return equinox.filter(made, lambda leaf: isinstance(leaf, jax.ShapeDtypeStruct))


def state_of(optimizer):
    """What an optimizer keeps, without numbers either."""
    return jax.eval_shape(optimizer.init, {"w": 1.0, "b": 2.0})


def round_trip(tree, arguments=()):
    """The structure that is made from a result's text."""
    text = json.dumps(describe_result(tree, arguments, "result").to_json())
    return Maker(TreeNode.from_json(json.loads(text)), "result").tree(arguments)


@pytest.mark.parametrize(
    "value",
    [
        1.0,
        None,
        (),
        {},
        [1, (2, None), {"b": 1, "a": [2]}],
        {3: 1, -1: 2},
        {(1, "x"): 1, (0, "y"): 2},
        collections.OrderedDict(z=1, a=2),
        collections.defaultdict(list, {"k": 1}),
        Metrics(1.0, {"top": 2.0}),
        Tagged({"w": 1}, tag="b"),
        flax.core.FrozenDict({"params": {"w": 1}}),
        state_of(optax.adam(1e-3)),
        state_of(optax.chain(optax.clip_by_global_norm(1.0), optax.masked(optax.sgd(0.1), {"w": True, "b": False}))),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_structure_comes_back(value):
    tree = jax.tree.structure(value)
    assert round_trip(tree) == tree
    assert difference(describe(tree), describe(tree), "x") == ""


@pytest.mark.parametrize(
    "state",
    [
        shapes_of(equinox.nn.MLP, 2, 2, 3, 1),
        flax.nnx.split(flax.nnx.eval_shape(lambda: flax.nnx.Linear(2, 3, rngs=flax.nnx.Rngs(0))))[1],
        jax.eval_shape(optax.adam(1e-3).init, shapes_of(equinox.nn.Linear, 2, 2)),
    ],
    ids=["equinox", "nnx", "optax-of-equinox"],
)
def test_what_an_argument_has_too_is_taken_from_there(state):
    tree = jax.tree.structure(((state, {"gradients": state}), 1.0))
    assert round_trip(tree, [None, jax.tree.structure({"state": state})]) == tree


def test_a_class_that_only_results_have_must_be_found_by_its_name():
    class Local(NamedTuple):
        loss: object

    with pytest.raises(CompileError, match=r"result\[1\]\['m'\] is a .*<locals>.Local, which cannot be imported"):
        round_trip(jax.tree.structure((1.0, {"m": Local(2.0)})))


def test_static_data_that_json_cannot_hold():
    tree = jax.tree.structure((Tagged(1.0, tag=object()),))
    with pytest.raises(CompileError, match=r"result\[0\] is a .*Tagged, whose static data a file cannot hold"):
        round_trip(tree)
    assert round_trip(tree, [tree]) == tree


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        (
            "no.such.module:Metrics",
            r"result\[0\] of the saved program is a no.such.module:Metrics, which cannot be impo",
        ),
        (f"{__name__}:Nothing", "has no attribute 'Nothing'"),
        ("os:system", "which is no pytree node here"),
        ("builtins:eval", "which is no pytree node here"),
    ],
)
def test_a_class_that_is_not_there(kind, sentence):
    text = ["a tuple", "null", [[kind, "null", [["an array", "null", []]]]]]
    with pytest.raises(UsageError, match=sentence):
        Maker(TreeNode.from_json(text), "result").tree(())


@pytest.mark.parametrize(
    ("expected", "found", "sentence"),
    [
        ({"a": 1}, {"b": 1}, "x is a dict with the keys b, not a dict with the keys a"),
        ({"a": (1, 2)}, {"a": [1, 2]}, "x['a'] is a list, not a tuple"),
        ({"a": (1, 2)}, {"a": (1,)}, "x['a'] is a tuple of 1, not a tuple of 2"),
        ([1, None], [1, 2], "x[1] is an array, not None"),
        (Metrics(1, 2), (1, 2), f"x is a tuple, not {__name__}:Metrics"),
        (Tagged(1, tag="a"), Tagged(1, tag="b"), 'with the static data ["tuple", "b"], not'),
    ],
)
def test_a_difference_names_its_place(expected, found, sentence):
    told = difference(describe(jax.tree.structure(expected)), describe(jax.tree.structure(found)), "x")
    assert sentence in told


def test_what_is_made_alike_twice_is_told_by_its_place_and_class():
    def trained_by(optimizer):
        state = flax.training.train_state.TrainState.create(apply_fn=jax.nn.relu, params={"w": 1.0}, tx=optimizer)
        return jax.tree.structure({"state": state})

    expected, found = trained_by(optax.sgd(0.1)), trained_by(optax.sgd(0.1))
    assert difference(describe(expected), describe(found), "x") == ""
    told = unlike_data(expected, found, "x")
    assert told.startswith("x['state'] is flax.training.train_state:TrainState that holds another GradientTransf")


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 1.0),
        (True, 1),
        ("a", "b"),
        ((1,), [1]),
        ({"a": 1}, {"a": 2}),
        (Setting(1), Setting(2)),
        ((Setting(1), "a"), (Setting(1), "b")),
        (Colour.RED, Colour.BLUE),
        (dict, list),
        (jax.nn.relu, jax.nn.gelu),
    ],
)
def test_static_data_are_told_apart(one, other):
    assert static_data(one) == static_data(one)
    assert json.loads(json.dumps(static_data(one))) == static_data(one)
    assert json.dumps(static_data(one)) != json.dumps(static_data(other))
    assert is_told_apart(static_data(one))


@pytest.mark.parametrize("value", [lambda x: x, object(), (1, lambda x: x), {"f": object()}])
def test_what_cannot_be_told_apart_says_so(value):
    assert not is_told_apart(static_data(value))


def test_a_class_of_a_script_has_the_name_to_import_it_by(tmp_path):
    (tmp_path / "train.py").write_text("""
import jax, json
from typing import NamedTuple
from atoll.compiler.export.pytree_text import Maker, describe_result
class Metrics(NamedTuple):
    loss: object
tree = jax.tree.structure(Metrics(1.0))
node = describe_result(tree, (), "result")
assert Maker(node, "result").tree(()) == tree
print(node.kind)
""")
    ran = subprocess.run([sys.executable, "train.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (ran.stdout, ran.stderr) == ("train:Metrics\n", "")
