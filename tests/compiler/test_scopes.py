"""What part of the model an operation belongs to, read from the name stacks of real jax programs."""

import jax
import jax.numpy as jnp
import pytest
from atoll.compiler.export.frontend import export
from atoll.compiler.export.job import Job
from atoll.compiler.mlir.bindings import ir
from atoll.compiler.mlir.functions import functions_in, operations_in
from atoll.compiler.mlir.locations import name_stack
from atoll.compiler.module.scopes import Role, Scope, read_scope, scopes_around
from atoll.compiler.pipeline.pass_manager import run_passes
from atoll.compiler.pipeline.registry import steps_of_text
from hypothesis import given
from hypothesis import strategies as st

X = jax.ShapeDtypeStruct((4, 4), "float32")

FORWARD, REMATERIALISED, BACKWARD, UPDATE = Role.FORWARD, Role.REMATERIALISED, Role.BACKWARD, Role.UPDATE


@pytest.mark.parametrize(
    ("stack", "role", "path"),
    [
        ("", UPDATE, ()),
        ("add", UPDATE, ()),
        ("jit(step)/add", UPDATE, ()),
        ("jit(step)/adam/mul", UPDATE, ("adam",)),
        ("jit(step)/jvp()/add", FORWARD, ()),
        ("jit(step)/jvp(layer_3)/mlp/dot_general", FORWARD, ("layer_3", "mlp")),
        ("jit(step)/transpose(jvp(layer_3))/mlp/mul", BACKWARD, ("layer_3", "mlp")),
        ("jit(step)/transpose(jvp())/mul", BACKWARD, ()),
        ("jit(step)/jvp(vmap(a))/sin", FORWARD, ("a",)),
        ("jit(step)/jvp(a/b)/sin", FORWARD, ("a", "b")),
        ("jit(step)/jvp(M)/Block_0/jit(relu)/max", FORWARD, ("M", "Block_0")),
        ("jit(f)/transpose(jvp(a))/b/jvp(a)/b/checkpoint/rematted_computation/sin", REMATERIALISED, ("a", "b")),
        # Constants that are shared have no primitive at the end, but their wrappers still tell.
        ("jit(f)/transpose(jvp(jit(_where)))", BACKWARD, ()),
        ("jit(f)/jvp(layer_1)", FORWARD, ("layer_1",)),
        ("jit(f)/transpose(jvp(a\nb))/mul", BACKWARD, ("a\nb",)),
    ],
)
def test_stacks_as_jax_writes_them(stack, role, path):
    assert read_scope(stack) == Scope(role, path)


def test_what_is_differentiated_in_a_scope_starts_over():
    around = scopes_around("jit(f)/a/b/transpose(jvp(c))/d/mul")
    assert [one.path for one in around] == [(), (), ("a",), ("a", "b"), ("c",), ("c", "d")]
    assert [one.role for one in around] == [UPDATE] * 4 + [BACKWARD] * 2


@given(st.text(alphabet="ab/()jvptranspose", max_size=60))
def test_any_stack_has_a_scope(stack):
    assert isinstance(read_scope(stack), Scope)


def scopes(fn, *args):
    """(role, path, operation) of everything that the function computes."""
    module = export(Job(fn, *args))
    run_passes(module, steps_of_text("normalize"))
    found = set()
    for operation in operations_in(functions_in(module)["main"], ir.OpView):
        scope = read_scope(name_stack(operation.location))
        found.add((scope.role, scope.path, operation.operation.name.removeprefix("stablehlo.")))
    return found


def layer(index, weight, x):
    with jax.named_scope(f"layer_{index}"):
        return jnp.tanh(x @ weight)


def loss(weight, x):
    for index in range(2):
        x = layer(index, weight, x)
    with jax.named_scope("head"):
        return jnp.sum(x * x)


def test_forward_backward_and_update_of_a_train_step():
    def step(weight, x):
        gradient = jax.grad(loss)(weight, x)
        with jax.named_scope("sgd"):
            return weight - 0.1 * gradient

    found = scopes(step, X, X)
    for index in range(2):
        assert (FORWARD, (f"layer_{index}",), "tanh") in found
        assert (FORWARD, (f"layer_{index}",), "dot_general") in found
        assert (BACKWARD, (f"layer_{index}",), "dot_general") in found
    assert (BACKWARD, ("head",), "multiply") in found
    assert (UPDATE, ("sgd",), "subtract") in found
    assert not [one for one in found if one[2] in ("tanh", "dot_general") and one[0] is UPDATE]


def test_a_model_without_scopes_still_has_directions():
    def step(weight, x):
        return weight - jax.grad(lambda weight: jnp.sum(jnp.tanh(x @ weight)))(weight)

    found = scopes(step, X, X)
    assert (FORWARD, (), "tanh") in found
    assert (BACKWARD, (), "dot_general") in found
    assert (UPDATE, (), "subtract") in found


@pytest.mark.parametrize("outer", [lambda fn: fn, jax.jit, jax.vmap], ids=["plain", "jit", "vmap"])
def test_what_a_checkpoint_computes_again_is_told_apart(outer):
    def step(weight, x):
        def inner(weight):
            block = jax.checkpoint(lambda weight, x: layer(1, weight, layer(0, weight, x)))
            return jnp.sum(outer(lambda row: block(weight, row[None]))(x))

        return jax.grad(inner)(weight)

    def plain(weight, x):
        def inner(weight):
            block = jax.checkpoint(lambda weight, x: layer(1, weight, layer(0, weight, x)))
            return jnp.sum(outer(lambda x: block(weight, x))(x))

        return jax.grad(inner)(weight)

    found = scopes(step if outer is jax.vmap else plain, X, X)
    for index in range(2):
        assert (REMATERIALISED, (f"layer_{index}",), "tanh") in found
        assert (BACKWARD, (f"layer_{index}",), "dot_general") in found


@pytest.mark.parametrize("wrap", [lambda fn: fn, jax.checkpoint], ids=["plain", "checkpoint"])
def test_a_scan_over_layers(wrap):
    def step(weights, x):
        def inner(weights):
            with jax.named_scope("layers"):
                last, _ = jax.lax.scan(wrap(lambda x, weight: (layer(0, weight, x), None)), x, weights)
            return jnp.sum(last)

        return jax.grad(inner)(weights)

    found = scopes(step, jax.ShapeDtypeStruct((3, 4, 4), "float32"), X)
    inside = ("layers", "while", "body", "layer_0")
    assert (FORWARD, inside, "tanh") in found
    assert (BACKWARD, inside, "dot_general") in found
    assert (FORWARD, ("layers",), "while") in found
    assert (BACKWARD, ("layers",), "while") in found
    if wrap is jax.checkpoint:
        assert (REMATERIALISED, inside, "tanh") in found


def test_shared_private_functions_belong_to_whoever_calls_them():
    def step(weight, x):
        def inner(weight):
            with jax.named_scope("a"):
                x1 = jnp.where(x > 0, x @ weight, 0.0)
            with jax.named_scope("b"):
                return jnp.sum(jnp.where(x1 > 0, x1, 0.0))

        return jax.grad(inner)(weight)

    found = scopes(step, X, X)
    assert (FORWARD, ("a",), "select") in found
    assert (BACKWARD, ("b",), "select") in found


def test_scopes_of_vmap_are_those_of_the_model():
    found = scopes(lambda weight, x: jax.vmap(lambda row: layer(0, weight, row))(x), X, X)
    assert (UPDATE, ("layer_0",), "tanh") in found


def test_strange_scopes_do_no_harm():
    def step(x):
        with jax.named_scope("a(b"), jax.named_scope("c)"), jax.named_scope("jvp(x)"):
            return jnp.sin(x)

    assert any(operation == "sine" for _, _, operation in scopes(step, X))
