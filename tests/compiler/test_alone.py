"""`per_microbatch`: what it makes of a function is what one would write by hand, in float64; or it is refused."""

import alone_steps
import jax
import jax.numpy as jnp
import numpy
import pytest
from alone_steps import W, X, Y, by_hand, in_scope, normal
from atoll.compiler.errors import CompileError, PlanError
from atoll.compiler.export.alone.job import as_planned
from atoll.compiler.export.frontend import export
from atoll.compiler.export.job import Job
from atoll.compiler.module.noting import notes_of
from atoll.compiler.pipeline.pass_manager import run_passes
from atoll.compiler.pipeline.registry import steps_of_text
from atoll.compiler.pipeline.resume import write_texts
from atoll.compiler.plan.plan import Plan
from atoll.compiler.plan.resolved_plan import resolved
from timed_harness import compiled_quickly  # noqa: F401 (a fixture)


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def planned(step, *arguments, microbatches=2, scope="part", **options):
    plan = Plan(microbatches=microbatches, per_microbatch=scope)
    return as_planned(Job(step, *arguments, **options), resolved(plan, 1))


def made(*arguments, **options):
    """What the function that a plan asks for gives."""
    return jax.jit(planned(*arguments, **options).fn)(*arguments[1:])


def refusal(*arguments, **options):
    with pytest.raises((CompileError, PlanError)) as caught:
        export(planned(*arguments, **options))
    return caught.value


# Of some steps more than one number: what is wrong with one is wrong with all.
NUMBERS = [("batch_norm", 1), ("batch_norm", 4), ("load_balancing", 4), *((name, 2) for name in alone_steps.CASES)]


@pytest.mark.parametrize(("name", "microbatches"), NUMBERS)
def test_it_is_what_one_would_write_by_hand(name, microbatches):
    make, arguments, batch = alone_steps.CASES[name]
    got = made(make(in_scope), *arguments, microbatches=microbatches, batch_argnums=batch)
    wanted = jax.jit(make(by_hand(microbatches)))(*arguments)
    jax.tree.map(lambda a, b: numpy.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12), got, wanted)


def test_two_microbatches_are_another_function():
    make, arguments, batch = alone_steps.CASES["batch_norm"]
    first, second = (
        made(make(in_scope), *arguments, microbatches=number, batch_argnums=batch)[0][0] for number in (1, 2)
    )
    assert abs(first - second) > 1e-3


def test_what_a_loop_carries_is_of_each_microbatch():
    """A statistic goes from turn to turn as it would from line to line."""

    def turn(h, s):
        mean = h.mean(0)
        return jnp.tanh(h - s), jnp.tanh(mean + s)

    def step(weights, x, y):
        def layer(carry, w):
            with jax.named_scope("part"):
                h, s = turn(carry[0] @ w, carry[1])
            return (h, s), s

        def loss(weights):
            (h, s), stack = jax.lax.scan(layer, (x, jnp.zeros(4)), weights)
            return ((h - y) ** 2).mean() + (s**2).sum() + (stack**3).sum()

        return jax.value_and_grad(loss)(weights)

    def wanted(weights):
        def alone(x):
            def layer(carry, w):
                h, s = turn(carry[0] @ w, carry[1])
                return (h, s), s

            return jax.lax.scan(layer, (x, jnp.zeros(4)), weights)

        (h, s), stack = jax.vmap(alone)(X.reshape(2, 4, 4))
        return ((h.reshape(8, 4) - Y) ** 2).mean() + (s.mean(0) ** 2).sum() + (stack.mean(0) ** 3).sum()

    weights = normal(3, 4, 4)
    got = made(step, weights, X, Y, batch_argnums=(1, 2))
    jax.tree.map(numpy.testing.assert_allclose, got, jax.jit(jax.value_and_grad(wanted))(weights))


def test_a_statistic_that_is_used_outside_and_inside():
    """What comes back to it from outside is of the mean, what comes from inside is of each microbatch."""

    def step(w, x, y):
        def loss(w):
            h = x @ w
            with jax.named_scope("part"):
                square = (h * h).mean(0)
            outside = (square**3).sum()
            with jax.named_scope("part"):
                h = h - square
            return ((h - y) ** 2).mean() + outside

        return jax.value_and_grad(loss)(w)

    def wanted(w):
        h = (X @ w).reshape(2, 4, 4)
        square = (h * h).mean(1, keepdims=True)
        return (((h - square).reshape(8, 4) - Y) ** 2).mean() + (square.mean(0) ** 3).sum()

    got = made(step, W, X, Y, batch_argnums=(1, 2))
    jax.tree.map(numpy.testing.assert_allclose, got, jax.jit(jax.value_and_grad(wanted))(W))


def test_a_statistic_that_is_told_and_goes_into_a_loop():
    """With examples beside it that the loop takes in each turn."""

    def step(w, x, y):
        def loss(w):
            h = x @ w
            with jax.named_scope("part"):
                square = (h * h).mean(0)

            def turn(h, _):
                with jax.named_scope("part"):
                    h = jnp.sin(h - square + x * x.mean(0))
                return h, None

            told = square**2
            return ((jax.lax.scan(turn, h, None, length=3)[0] - y) ** 2).mean() + told.sum(), told

        return jax.value_and_grad(loss, has_aux=True)(w)

    def wanted(w):
        x = X.reshape(2, 4, 4)
        h = x @ w
        square = (h * h).mean(1, keepdims=True)
        for _ in range(3):
            h = jnp.sin(h - square + x * x.mean(1, keepdims=True))
        told = square.mean(0)[0] ** 2
        return ((h.reshape(8, 4) - Y) ** 2).mean() + told.sum(), told

    got = made(step, W, X, Y, batch_argnums=(1, 2))
    jax.tree.map(numpy.testing.assert_allclose, got, jax.jit(jax.value_and_grad(wanted, has_aux=True))(W))


def test_a_mean_that_vmap_takes():
    """As Equinox writes a batch norm, whose way back sums up over no axis at all."""

    def step(w, x):
        def one(row):
            with jax.named_scope("part"):
                return row - jax.lax.pmean(row, "examples")

        return jax.grad(lambda w: (jax.vmap(one, axis_name="examples")(x @ w) ** 3).sum())(w)

    def wanted(w):
        h = (X @ w).reshape(2, 4, 4)
        return ((h - h.mean(1, keepdims=True)) ** 3).sum()

    numpy.testing.assert_allclose(made(step, W, X, batch_argnums=(1,)), jax.grad(wanted)(W))


def test_examples_along_another_axis():
    def step(x):
        with jax.named_scope("part"):
            return x - x.mean(1, keepdims=True)

    x = normal(3, 8)
    cut = x.reshape(3, 2, 4)
    wanted = (cut - cut.mean(2, keepdims=True)).reshape(3, 8)
    numpy.testing.assert_allclose(made(step, x, batch_axes=(1,)), wanted)


def test_the_report_names_each_scope_once():
    def step(w, x):
        with jax.named_scope("block"), jax.named_scope("part"):
            h = x @ w - (x @ w).mean(0)
        with jax.named_scope("part"):
            return h.std()

    module = export(planned(step, W, X, batch_argnums=(1,)))
    write_texts(module, None, Plan(microbatches=2, per_microbatch="part"))
    run_passes(module, steps_of_text("resolve-plan"))
    told = [str(note).partition(", at")[0] for note in notes_of(module)]
    what = "computed for each microbatch alone, as per_microbatch says"
    assert [one.partition(": ")[0] for one in told] == [what, what]
    assert [one.rpartition(" in ")[2] for one in told] == ["scope block/part", "scope part"]


def in_part(function):
    def step(w, x):
        h = x @ w
        with jax.named_scope("part"):
            return function(h)

    return step


REFUSED = {
    "counts": (in_part(lambda h: (h > 0).sum()), "reduce_sum gives a value of int64 for each microbatch"),
    "pairs": (in_part(lambda h: h @ h.T), "dot_general has 4 x 4 for a microbatch and 8 x 8 for the batch"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_leaves_a_scope_and_has_no_meaning(name):
    step, what = REFUSED[name]
    error = refusal(step, W, X, batch_argnums=(1,))
    assert what in error.what
    assert error.where.partition(":")[0].endswith("test_alone.py")


ORDERS = {
    "other axes in front": (lambda h: h.reshape(-1, 2, 2).swapaxes(0, 1).reshape(-1, 2), "reshape has another axis"),
    "an axis of turns": (lambda h: h.reshape(2, -1, 4), "reshape has another axis"),
    "two values joined": (lambda h: jnp.concatenate([h, h]), "concatenate joins values along the axis"),
    "some by their place": (lambda h: h[: len(h) // 2], "slice takes some of the examples"),
    "half, looked up": (lambda h: h[jnp.arange(len(h) // 2)], "gather has some of the examples at places of their own"),
    "filled up": (lambda h: jnp.pad(h, ((0, len(h)), (0, 0))), "pad fills up by as much as there are examples"),
    "among others": (
        lambda h: jax.lax.dynamic_update_slice(jnp.zeros((2 * len(h), 4)), h, (0, 0)),
        "dynamic_update_slice has some of the examples at places",
    ),
    "in a loop over examples": (
        lambda h: jax.lax.map(lambda row: jnp.concatenate([h, row[None]])[:-1], h)[:, 0],
        "scan joins values along the axis",
    ),
}


@pytest.mark.parametrize("name", ORDERS)
def test_examples_that_are_not_one_after_another(name):
    """Their parts would be put together in another order than that of the whole."""
    act, what = ORDERS[name]
    error = refusal(in_part(act), W, X, batch_argnums=(1,))
    assert what in error.what
    assert error.where.partition(":")[0].endswith("test_alone.py")


def test_the_way_back_of_examples_that_are_not_one_after_another():
    """What comes back is cut in another order, and nothing of it is put together again."""

    def step(w, x):
        def loss(w):
            h = (x @ w).reshape(-1, 2, 2)
            with jax.named_scope("part"):
                h = h.swapaxes(0, 1).reshape(-1, 2)
                h = h / (1 + jnp.abs(h).mean())
            return (h.reshape(2, -1, 2) * jnp.arange(1.0, 3.0)[:, None, None]).sum()

        return jax.grad(loss)(w)

    assert "reshape has another axis" in refusal(step, W, X, batch_argnums=(1,)).what


def test_a_gradient_of_a_gradient():
    def step(w, x):
        def loss(w):
            with jax.named_scope("part"):
                return (x @ w).var(0).sum()

        return jax.grad(lambda w: (jax.grad(loss)(w) ** 2).sum())(w)

    assert "a gradient of a gradient" in refusal(step, W, X, batch_argnums=(1,)).what


def test_a_gradient_within_what_a_gradient_is_taken_of():
    def step(w, x):
        def loss(w):
            with jax.named_scope("part"):
                return jax.grad(lambda h: (h.var(0) ** 2).sum())(x @ w).sum()

        return jax.grad(loss)(w)

    assert "a gradient of a gradient" in refusal(step, W, X, batch_argnums=(1,)).what


def test_a_pattern_with_scopes_on_both_sides_of_a_gradient():
    def step(w, x):
        def loss(w):
            with jax.named_scope("norm"):
                return (x @ w).var(0).sum()

        with jax.named_scope("part"):
            return jax.grad(loss)(w)

    error = refusal(step, W, X, scope="part/norm", batch_argnums=(1,))
    assert "has scopes on both sides of a gradient: part/jvp(norm)" in error.what


BETWEEN = {
    "added to": lambda mean: mean + 1,
    "in a choice": lambda mean: jax.lax.cond(mean[0] > 0, lambda mean: mean, lambda mean: mean + 1, mean),
    "by a rule of the user's": None,
}


@pytest.mark.parametrize("differentiate", [jax.value_and_grad, lambda loss: lambda w: jax.jvp(loss, (w,), (w,))])
@pytest.mark.parametrize("name", BETWEEN)
def test_a_mean_that_is_changed_outside_and_comes_back(name, differentiate):
    """A derivative has nothing there, so that it would be that of a statistic of each microbatch."""

    @jax.custom_jvp
    def unseen(mean):
        return mean * 3

    unseen.defjvp(lambda primals, tangents: (unseen(*primals), *tangents))

    def loss(w, x, y):
        h = x @ w
        with jax.named_scope("part"):
            mean = h.mean(0)
        mean = (BETWEEN[name] or unseen)(mean)
        with jax.named_scope("part"):
            return ((h * mean - y) ** 2).mean()

    def step(w, x, y):
        return differentiate(lambda w: loss(w, x, y))(w)

    error = refusal(step, W, X, Y, batch_argnums=(1, 2))
    assert "takes a mean over the microbatches that was changed outside" in error.what
    assert "within what the patterns of per_microbatch match" in error.remedy


def test_a_gradient_that_does_not_begin_with_a_one():
    """Which of its numbers come back nobody can tell."""

    def step(w, x, y):
        def model(w):
            with jax.named_scope("part"):
                return x @ w - (x @ w).mean(0)

        return jax.vjp(model, w)[1](y)

    error = refusal(step, W, X, Y, batch_argnums=(1, 2))
    assert "stands on the way back of a gradient, and is not shown to be a part of one" in error.what


def test_a_gradient_that_a_user_wrote_and_is_not_linear():
    @jax.custom_vjp
    def odd(h):
        return h.mean(0)

    odd.defvjp(lambda h: (h.mean(0), h), lambda h, back: (h * jnp.tanh(back),))

    def step(w, x):
        def loss(w):
            with jax.named_scope("part"):
                return (odd(x @ w) ** 2).sum()

        return jax.grad(loss)(w)

    assert "tanh is not known to be linear" in refusal(step, W, X, batch_argnums=(1,)).what


def test_a_function_of_one_number_of_examples():
    def step(w, x):
        h = x @ w
        with jax.named_scope("part"):
            h = h - h.mean(0)
        return (h.reshape(8, 2, 2) ** 2).sum()

    error = refusal(step, W, X, batch_argnums=(1,))
    assert "cannot be traced for the examples of one microbatch" in error.what
    assert "from the shape of an argument" in error.remedy


def test_a_function_that_does_something_else_with_fewer_examples():
    def step(w, x):
        h = x @ w
        with jax.named_scope("part"):
            h = h - h.mean(0)
        return jnp.tanh(h).sum() if len(x) == 8 else jnp.sin(h).sum()

    error = refusal(step, W, X, batch_argnums=(1,))
    assert "does something else where it is given the examples of one microbatch" in error.what


def test_a_pattern_that_matches_nothing():
    error = refusal(in_part(jnp.tanh), W, X, scope="part, norm", batch_argnums=(1,))
    assert error.what == "pattern norm of per_microbatch matches no scope"
    assert error.remedy == "the program's scopes are part"
    error = refusal(in_part(jnp.tanh), W, X, scope="norm", microbatches=1, batch_argnums=(1,))
    assert error.what == "pattern norm of per_microbatch matches no scope"


def test_the_number_of_microbatches_has_to_be_there():
    with pytest.raises(PlanError, match="the answer depends on how many there are"):
        resolved(Plan(per_microbatch="part"), 1)
