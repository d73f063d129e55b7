"""What Shardy's propagation makes of the batch is compared with what the rules say, and told; nothing depends on it."""

import logging

import jax
import jax.numpy as jnp
import pytest
from atoll.compiler.export.frontend import export
from atoll.compiler.export.job import Job
from atoll.compiler.mlir.ir_text import print_module
from atoll.compiler.pipeline.pass_manager import run_passes
from atoll.compiler.pipeline.pipeline import phase_named
from atoll.compiler.pipeline.registry import steps_of_phase
from atoll.compiler.pipeline.resume import write_texts
from atoll.compiler.plan.plan import Plan
from atoll.compiler.topology.topology import topology
from atoll.passes.time.folding import cross_check, propagation

SHAPES = jax.ShapeDtypeStruct((4, 4), "float32"), jax.ShapeDtypeStruct((8, 4), "float32")


def mlp(w, x):
    def loss(w):
        return jnp.mean((jnp.tanh(x @ w) @ w - x) ** 2)

    value, gradient = jax.value_and_grad(loss)(w)
    return w - 0.1 * gradient, value


def squared(w, x):
    y = jnp.square(x @ w)  # Shardy has no rule for chlo.square
    return jnp.sum(jnp.exp(y)), jnp.sum(y, 0)


def dropped_out(w, x):
    return x @ w * jax.random.bernoulli(jax.random.key(0), 0.5, x.shape)


def in_a_loop(w, x):
    def layer(y, w):
        return jnp.tanh(y @ w) + jax.lax.cond(w[0, 0] > 0, lambda: y, lambda: -y), None

    return jax.lax.scan(layer, x, jnp.stack([w, w]))[0]


@pytest.fixture
def told(caplog):
    """The module at phase `timed`, and the lines of the log, each without the name of this file."""

    def told(fn, level=logging.INFO, **options):
        islands = topology("1 x cpu[2]")
        module = export(Job(fn, *SHAPES, batch_argnums=1, **options), islands)
        write_texts(module, islands, Plan(microbatches=4))
        caplog.clear()
        with caplog.at_level(level):
            for phase in ("stablehlo", "timed"):
                run_passes(module, steps_of_phase(phase_named(phase)))
        lines = [one.getMessage().replace(f"{__file__}:", "line ") for one in caplog.records]
        return print_module(module), [line for line in lines if "Shardy" in line]

    return told


def line_of(fn, number):
    return f"line {fn.__code__.co_firstlineno + number}"


@pytest.mark.parametrize("fn", [mlp, dropped_out, in_a_loop])
def test_where_both_say_the_same(fn, told):
    _, (summary,) = told(fn)
    assert summary.startswith("Shardy's propagation has 0 of ")


def test_a_difference_has_a_line_and_what_follows_from_it_has_none(told):
    _, lines = told(squared)
    assert lines[0] == f"square at {line_of(squared, 1)} is S(0), and R to Shardy"
    assert len(lines) == 2
    assert lines[1].startswith("Shardy's propagation has 2 of ")


def test_only_so_many_differences_have_lines(told, monkeypatch):
    def often(w, x):
        y = x @ w
        return [jnp.sum(one(y)) for one in (jnp.square, jax.lax.erf, jax.lax.digamma, jax.lax.asinh)]

    monkeypatch.setattr(cross_check, "_LINES", 3)
    _, lines = told(often)
    assert [line.partition(" at ")[0] for line in lines[:-1]] == ["square", "erf", "digamma"]
    assert lines[-1].startswith("Shardy's propagation has 4 of ")


def test_the_users_shardings_are_out_of_the_question(told):
    def constrained(w, x):
        return jax.lax.with_sharding_constraint(x @ w, jax.P(None, "devices"))

    _, (summary,) = told(constrained, in_shardings=(None, jax.P("devices", None)))
    assert summary.startswith("Shardy's propagation has 0 of ")


def test_what_cannot_be_compared_says_so(told):
    def mapped(w, x):
        return x @ jax.shard_map(jnp.tanh, in_specs=jax.P("devices"), out_specs=jax.P("devices"))(w)

    _, lines = told(mapped, in_shardings=(jax.P("devices"), None))
    assert lines == ["not compared with Shardy's propagation: the program has operations of Shardy's own"]


@pytest.mark.parametrize(
    ("passes", "why"), [("verify-placed", "pass verify-placed: "), ("canonicalize", "it has changed the operations")]
)
def test_a_propagation_that_fails_fails_nothing_else(told, monkeypatch, passes, why):
    monkeypatch.setattr(propagation, "_PROPAGATION", passes)
    _, (line,) = told(mlp)
    assert line.startswith(f"not compared with Shardy's propagation: {why}")


@pytest.mark.parametrize("fn", [mlp, squared])
def test_nothing_depends_on_it(fn, told):
    module, _ = told(fn)
    other, lines = told(fn, logging.WARNING)
    assert module == other
    assert lines == []
