"""What a function does to the objects it is given is lost unless it returns them, and atoll says so."""

import jax
import jax.numpy as jnp
import pytest
from atoll.compiler.export.frontend import trace

import atoll


@jax.tree_util.register_pytree_with_keys_class
class Layer:
    """A module whose arrays are its attributes, which an optimizer replaces."""

    def __init__(self, w, count):
        self.w, self.count = w, count

    def tree_flatten_with_keys(self):
        return [(jax.tree_util.GetAttrKey(name), getattr(self, name)) for name in ("w", "count")], None

    @classmethod
    def tree_unflatten(cls, _, leaves):
        return cls(*leaves)


@jax.tree_util.register_pytree_node_class
class Doubled:
    """Makes its leaf anew whenever it is flattened."""

    def __init__(self, w):
        self.w = w

    def tree_flatten(self):
        return (self.w * 2 if isinstance(self.w, jax.core.Tracer) else self.w,), None

    @classmethod
    def tree_unflatten(cls, _, leaves):
        return cls(*leaves)


def changes_and_returns_nothing_of_it(layer, x):
    layer.w = layer.w - x
    return layer.w.sum()


def returns_some(layer, x):
    layer.w, layer.count = layer.w - x, layer.count + 1
    return layer.w


def returns_the_object(layer, x):
    layer.w, layer.count = layer.w - x, layer.count + 1
    return layer, x.sum()


def only_reads(layer, x):
    return layer.w * layer.count + x


def warnings_of(caplog, fn, *args):
    caplog.clear()
    trace(atoll.Job(fn, *args))
    return [record.getMessage() for record in caplog.records]


def layer():
    return Layer(jnp.ones(4), 0)


@pytest.mark.parametrize(
    ("fn", "path"), [(changes_and_returns_nothing_of_it, "layer.w"), (returns_some, "layer.count")]
)
def test_what_is_changed_in_vain_is_told_with_what_to_do(caplog, fn, path):
    [told] = warnings_of(caplog, fn, layer(), jnp.ones(4))
    assert f": {fn.__name__} changes {path} in place and does not return it, so that it stays as it was" in told
    assert told.startswith(__file__)
    assert "return layer too" in told


def test_an_object_among_others_is_seen(caplog):
    def step(state, x):
        state["layers"][0].w = x + 1
        return x

    [told] = warnings_of(caplog, step, {"layers": [layer()]}, jnp.ones(4))
    assert "step changes state['layers'][0].w in place" in told


@pytest.mark.parametrize("fn", [returns_the_object, only_reads])
def test_what_is_returned_or_only_read_is_not_told(caplog, fn):
    assert warnings_of(caplog, fn, layer(), jnp.ones(4)) == []


def test_an_object_that_makes_its_leaves_anew_is_not_taken_for_changed(caplog):
    assert warnings_of(caplog, lambda one, x: one.w + x, Doubled(jnp.ones(4)), jnp.ones(4)) == []
