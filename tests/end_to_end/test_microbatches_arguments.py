"""Arguments and results of many kinds, of programs that are cut in time."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy
import pytest
import zoo
from atoll.compiler.errors import AtollError, CompileError, PlanError, UsageError
from microbatched import BY_XLA, compiled_by_xla, evaluated  # noqa: F401 (fixtures)
from references import reference

import atoll

BATCH, MICROBATCHES = 8, 4
# Two stages for models that have these scopes, so that the batch is needed on both islands; for all others, any cut.
PLAN = atoll.Plan(stages="one | two", microbatches=MICROBATCHES)
ANY_CUT = atoll.Plan(microbatches=MICROBATCHES)
WEIGHTS = {"a": zoo.normal(1, 4, 8), "b": zoo.normal(2, 8, 3)}
X, Y = zoo.normal(3, BATCH, 4), zoo.normal(4, BATCH, 3)


def logits(weights, x):
    with jax.named_scope("one"):
        h = jnp.tanh(x @ weights["a"])
    with jax.named_scope("two"):
        return h @ weights["b"]


def loss_of(weights, x, y):
    found = logits(weights, x)
    with jax.named_scope("two"):
        return jnp.mean((found - y) ** 2)


def compiled(fn, *args, batch, islands=2, plan=PLAN, **others):
    return atoll.compile(fn, *args, topology=f"{islands} x cpu[1]", batch_argnums=batch, plan=plan, **others)


def check(fn, *args, batch, exact=False, given=None, **others):
    """A step, of arguments that may be given in another form, computes what `jax.jit` computes."""
    with compiled(fn, *args, batch=batch, **others) as step:
        results = step(*(given or args))
        expected = list(zoo.leaves(reference(fn, *args)))
        assert any(task.endswith("@0") and task.startswith("F3") for task in step.stats().order["island0"])
        same(zoo.leaves(results), expected, exact)
        return results


def same(found, expected, exact=False):
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
        if exact:
            assert ours.tobytes() == theirs.tobytes()
        else:
            numpy.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5 * numpy.max(numpy.abs(theirs), initial=0))


def test_one_batch_argument_that_is_a_tree():
    def fn(weights, batch):
        x, (y, scale) = batch["x"], batch["more"]
        return jax.value_and_grad(lambda w: jnp.mean((logits(w, x) - y) ** 2 * scale[:, None]))(weights)

    check(fn, WEIGHTS, {"more": (Y, jnp.arange(1.0, 9.0)), "x": X}, batch=(1,))


def test_several_batch_arguments_in_any_place():
    def fn(y, weights, x):
        return jax.value_and_grad(loss_of)(weights, jnp.sin(x), y)

    check(fn, Y, WEIGHTS, X, batch=(0, 2))
    check(fn, Y, WEIGHTS, X, batch=(-1, 0))


def test_integer_tokens_and_masks():
    table = zoo.normal(5, 16, 4)
    tokens = jax.random.randint(zoo.KEY, (BATCH, 5), 0, 16)
    mask = jax.random.bernoulli(zoo.KEY, 0.7, (BATCH, 5))

    def fn(weights, table, tokens, mask):
        def loss(weights, table):
            scores = jax.nn.log_softmax(logits(weights, table[tokens]))
            picked = jnp.take_along_axis(scores, tokens[..., None] % 3, axis=-1)[..., 0]
            return -jnp.sum(picked * mask) / jnp.sum(mask)

        return jax.value_and_grad(loss, argnums=(0, 1))(weights, table)

    check(fn, WEIGHTS, table, tokens, mask, batch=(2, 3))


@pytest.mark.parametrize("form", [numpy.asarray, numpy.asfortranarray, lambda x: numpy.asarray(x)[::1], jnp.array])
def test_arrays_from_outside(form):
    check(jax.value_and_grad(loss_of), WEIGHTS, X, Y, batch=(1, 2), given=(WEIGHTS, form(X), form(Y)))


def test_a_numpy_array_may_be_overwritten_after_the_call():
    expected = reference(logits, WEIGHTS, X)
    x = numpy.array(X)
    with compiled(logits, WEIGHTS, X, batch=(1,)) as step:
        result = step(WEIGHTS, x)
        x[:] = numpy.nan
        same([numpy.asarray(result)], [numpy.asarray(expected)])


def test_a_batch_of_float64_is_taken_as_jit_takes_it():
    check(jax.value_and_grad(loss_of), WEIGHTS, X, Y, batch=(1, 2), given=(WEIGHTS, numpy.float64(X), Y))


def test_put_places_a_part_for_each_microbatch():
    with compiled(jax.value_and_grad(loss_of), WEIGHTS, X, Y, batch=(1, 2)) as step:
        weights, x, y = step.put(WEIGHTS, X, Y)
        assert (x.shape, x.islands, y.islands) == ((BATCH, 4), ("island0",), ("island1",))
        assert numpy.asarray(x).tobytes() == numpy.asarray(X).tobytes()
        for _ in range(2):  # they stay, and may be used again
            same(zoo.leaves(step(weights, x, y)), zoo.leaves(jax.value_and_grad(loss_of)(WEIGHTS, X, Y)))


def test_logits_are_read_as_one_array():
    results = check(logits, WEIGHTS, X, batch=(1,))
    assert isinstance(results, atoll.Array)
    assert (results.shape, results.islands) == ((BATCH, 3), ("island1",))
    assert numpy.asarray(results[2:5]).shape == (3, 3)
    assert results.to_jax().shape == (BATCH, 3)


def test_a_per_example_result_may_have_the_batch_on_another_axis():
    def fn(weights, x):
        y = logits(weights, x)
        return y.T, jnp.stack([y, 2 * y]), x, y.argmax(-1)

    check(fn, WEIGHTS, X, batch=(1,))


def test_parts_are_fed_back_where_they_are():
    """A state for each example, as of a recurrence that goes on in the next step."""

    def fn(weights, memory, x):
        return jnp.tanh(memory + x @ weights["a"]), logits(weights, x)

    memory = jnp.zeros((BATCH, 8))
    expected = memory
    with compiled(fn, WEIGHTS, memory, X, batch=(1, 2)) as step:
        for _ in range(3):
            expected, _ = reference(fn, WEIGHTS, expected, X)
            memory, _ = step(WEIGHTS, memory, X)
        same(zoo.leaves(memory), zoo.leaves(expected))


@pytest.mark.one_in(3)
@pytest.mark.parametrize("microbatches", [1, 2, 4, 8])
@pytest.mark.parametrize("dimension", [0, 1])
def test_parts_are_fed_to_a_program_with_other_parts(microbatches, dimension):
    def make(weights, x):
        return jnp.swapaxes(x @ weights["a"], 0, dimension)

    def use(hidden, scale):
        return hidden * scale, jnp.sum(hidden)

    hidden = reference(make, WEIGHTS, X)
    plan = atoll.Plan(microbatches=microbatches)
    with (
        compiled(make, WEIGHTS, X, batch=(1,), plan=ANY_CUT) as first,
        compiled(use, hidden, 2.0, batch=(0,), plan=plan) as second,
    ):
        made = first(WEIGHTS, X)
        same(zoo.leaves(second(made, 2.0)), zoo.leaves(reference(use, hidden, 2.0)))
        same([numpy.asarray(made)], [numpy.asarray(hidden)])  # it is still there


def test_keys_for_each_example():
    keys = jax.random.split(jax.random.key(5), BATCH)

    def fn(weights, x, keys):
        noise = jax.vmap(lambda key: jax.random.normal(key, (4,)))(keys)
        return jax.value_and_grad(lambda w: jnp.mean(logits(w, x + noise) ** 2))(weights), noise

    check(fn, WEIGHTS, X, keys, batch=(1, 2))


@BY_XLA
def test_keys_for_each_example_are_results_too():
    keys = jax.random.split(jax.random.key(5), BATCH)

    def drawn(keys):
        fresh = jax.vmap(jax.random.fold_in, (0, None))(keys, 3)
        return fresh, jax.vmap(lambda key: jax.random.bits(key, (4,)))(fresh)

    fresh, _ = check(drawn, keys, batch=(0,), plan=ANY_CUT, exact=True)
    assert fresh.dtype == keys.dtype

    def added(keys, x):  # XLA may round a multiplication and an addition once, by what it fuses
        return jax.vmap(lambda key: jax.random.normal(key, (4,)))(keys) + x

    check(added, keys, X, batch=(0, 1), plan=ANY_CUT)


@BY_XLA
def test_raw_keys_for_each_example():
    keys = jax.random.split(jax.random.PRNGKey(5), BATCH)
    check(
        lambda keys: jax.vmap(lambda key: jax.random.uniform(key, (4,)))(keys),
        keys,
        batch=(0,),
        plan=ANY_CUT,
        exact=True,
    )


@BY_XLA
def test_dropout_draws_the_same_bits():
    def fn(key, x):
        keep = jax.random.bernoulli(key, 0.5, x.shape)
        noise = jax.random.normal(jax.random.fold_in(key, 1), x.shape)
        return jnp.where(keep, x, 0.0), keep, noise

    for key in (jax.random.key(7), jax.random.PRNGKey(7), jax.random.key(7, impl="rbg")):
        check(fn, key, X, batch=(1,), plan=ANY_CUT, exact=True)
    check(fn, jax.random.key(7), zoo.normal(3, BATCH, 3, 5), batch=(1,), plan=ANY_CUT, exact=True)


def test_dropout_in_a_model():
    def fn(weights, key, x, y):
        def loss(weights):
            with jax.named_scope("one"):
                h = jnp.tanh(x @ weights["a"])
                mask = jax.random.bernoulli(key, 0.5, h.shape)
                h = jnp.where(mask, h / 0.5, 0.0)
            with jax.named_scope("two"):
                return jnp.mean((h @ weights["b"] - y) ** 2), mask

        return jax.value_and_grad(loss, has_aux=True)(weights)

    (_, mask), _ = check(fn, WEIGHTS, jax.random.key(3), X, Y, batch=(2, 3))
    (_, expected), _ = fn(WEIGHTS, jax.random.key(3), X, Y)
    assert numpy.asarray(mask).tobytes() == numpy.asarray(expected).tobytes()


@BY_XLA
def test_a_donated_batch_is_given_up():
    with compiled(jax.value_and_grad(loss_of), WEIGHTS, X, Y, batch=(1, 2), donate_argnums=(1,)) as step:
        expected = list(zoo.leaves(jax.value_and_grad(loss_of)(WEIGHTS, X, Y)))
        x = jnp.array(X)
        same(zoo.leaves(step(WEIGHTS, x, Y)), expected)
        assert x.is_deleted()
        _, x, y = step.put(WEIGHTS, X, Y)
        same(zoo.leaves(step(WEIGHTS, x, y)), expected)
        assert (x.is_deleted(), y.is_deleted()) == (True, False)
        with pytest.raises(UsageError, match="x was donated"):
            step(WEIGHTS, x, y)


@BY_XLA
def test_a_donated_batch_becomes_a_result_of_its_kind():
    def fn(x, weights):
        return jnp.sin(x) @ weights["a"] @ weights["a"].T

    with compiled(fn, X, WEIGHTS, batch=(0,), plan=ANY_CUT, donate_argnums=(0,)) as step:
        x = jnp.array(X)
        for _ in range(4):
            # Of what the step before gave: the function makes rounding larger from step to step.
            expected = reference(fn, numpy.asarray(x), WEIGHTS)
            x = step(x, WEIGHTS)
            same(zoo.leaves(x), zoo.leaves(expected))
        assert len(set(step.stats().live_bytes.values())) <= 2


def test_a_batch_argument_may_live_where_it_is_needed_last():
    """Its result replaces it there; the stage before needs it too, and first."""

    def fn(memory, weights):
        with jax.named_scope("one"):
            h = jnp.tanh(memory @ weights["a"])
        with jax.named_scope("two"):
            return memory + h @ weights["a"].T

    expected = memory = X
    with compiled(fn, jnp.array(X), WEIGHTS, batch=(0,), donate_argnums=(0,)) as step:
        for _ in range(3):
            expected, memory = reference(fn, expected, WEIGHTS), step(jnp.array(memory), WEIGHTS)
            assert {name for name, _ in step.program.inputs[0].every_place} == {"island1"}
            same(zoo.leaves(memory), zoo.leaves(expected))


@pytest.mark.parametrize("replicas", [1, 2])
def test_a_batch_on_other_axes_and_leaves_without_one(replicas):
    def fn(weights, batch):
        def step(h, row):
            h = jnp.tanh(row @ weights["a"] + h)
            return h, h[:, 0]

        def loss(weights):
            with jax.named_scope("one"):
                h, seen = jax.lax.scan(step, jnp.zeros((BATCH, 8)), batch["x"] + batch["positions"][:, None])
            with jax.named_scope("two"):
                return jnp.mean((h @ weights["b"] - batch["y"].T) ** 2), (seen, batch["x"])

        return jax.value_and_grad(loss, has_aux=True)(weights)

    batch = {"x": zoo.normal(5, 3, BATCH, 4), "positions": zoo.normal(6, 3, 4), "y": zoo.normal(7, 3, BATCH)}
    axes = (None, {"x": 1, "positions": None, "y": -1})
    plan = replace(PLAN, replicas=replicas, microbatches=2)
    expected = list(zoo.leaves(reference(fn, WEIGHTS, batch)))
    with atoll.compile(fn, WEIGHTS, batch, topology=f"{2 * replicas} x cpu[1]", batch_axes=axes, plan=plan) as step:
        same(zoo.leaves(step(WEIGHTS, batch)), expected)
        assert len(step.program.inputs[-2].starts) == 2 * replicas
        with pytest.raises(CompileError, match="argument batch is given by a feed, but not all of it has the batch on"):
            step(WEIGHTS, atoll.Feed(lambda *_: batch))


def test_a_batch_that_cannot_be_shared_evenly_is_refused():
    batch = {"x": jnp.zeros((6, 4)), "y": jnp.zeros((6, 3))}
    with pytest.raises(PlanError, match=r"batch\['x'\] has 6 examples, which 4 microbatches cannot share evenly"):
        compiled(lambda weights, batch: loss_of(weights, batch["x"], batch["y"]), WEIGHTS, batch, batch=(1,))


def test_batch_arguments_of_unlike_sizes_are_refused():
    with pytest.raises(CompileError, match="x has 8 examples on axis 0 and y has 4"):
        compiled(lambda weights, x, y: logits(weights, x).sum() + y.sum(), WEIGHTS, X, Y[:4], batch=(1, 2))


def test_a_batch_argument_without_an_axis_is_refused():
    with pytest.raises(CompileError, match="scale has no axis 0 for the batch"):
        compiled(lambda weights, x, scale: logits(weights, x) * scale, WEIGHTS, X, 2.0, batch=(1, 2))


def test_without_a_batch_argument_there_are_no_microbatches():
    with pytest.raises(PlanError, match="4 microbatches, and no argument that is used carries the batch"):
        compiled(loss_of, WEIGHTS, X, Y, batch=())


def test_a_batch_argument_that_is_not_marked_is_sliced_or_refused():
    """Everything that is not marked is the same for all microbatches: whole, it meets their parts."""
    try:
        check(jax.value_and_grad(loss_of), WEIGHTS, X, Y, batch=(1,))
    except CompileError as error:
        assert "test_microbatches_arguments.py:" in str(error)  # noqa: PT017


def test_one_microbatch_ignores_which_arguments_carry_the_batch():
    expected = list(zoo.leaves(reference(jax.value_and_grad(loss_of), WEIGHTS, X, Y)))
    for plan in (atoll.Plan(), atoll.Plan(microbatches=1)):
        with compiled(jax.value_and_grad(loss_of), WEIGHTS, X, Y, batch=(1, 2), plan=plan) as step:
            same(zoo.leaves(step(WEIGHTS, X, Y)), expected)
            assert set(step.stats().order["island0"]) <= {"F0", "B0", "U0"}


def test_static_arguments_beside_a_batch():
    def fn(weights, kind, x, y):
        return jax.value_and_grad(lambda w: getattr(jnp, kind)((logits(w, x) - y) ** 2))(weights)

    expected = list(zoo.leaves(fn(WEIGHTS, "sum", X, Y)))
    with compiled(fn, WEIGHTS, "sum", X, Y, batch=(2, 3), static_argnums=(1,)) as step:
        same(zoo.leaves(step(WEIGHTS, "sum", X, Y)), expected)
        _, kind, x, _ = step.put(WEIGHTS, "sum", X, Y)
        assert (kind, x.shape) == ("sum", X.shape)
        leaves, tree = jax.tree.flatten(WEIGHTS)
        some, kind, *batch = step.put(jax.tree.unflatten(tree, [..., *leaves[1:]]), "sum", ..., Y)
        (left_out, *placed), found = jax.tree.flatten(some)
        assert (left_out, kind, batch[0], found) == (..., "sum", ..., tree)
        weights = jax.tree.unflatten(tree, [leaves[0], *placed])
        same(zoo.leaves(step(weights, "sum", X, batch[1])), expected)
        for given, message in (
            ((WEIGHTS, "sum", X, Y, Y), "compiled for 4 arguments and is given 5; give some or all"),
            (([...],), "argument weights has another structure"),
            ((..., "mean"), "static argument kind is 'mean', compiled for 'sum'"),
            ((..., "sum", X[:4]), r"x is float32\[4, 4\], but the step was compiled for float32\[8, 4\]"),
        ):
            with pytest.raises(AtollError, match=message):
                step.put(*given)


@BY_XLA
def test_a_saved_program_keeps_its_parts(tmp_path):
    def fn(weights, x, y):
        return jax.value_and_grad(loss_of)(weights, x, y), logits(weights, x)

    plan = replace(PLAN, schedule="zb-h1")
    with compiled(fn, WEIGHTS, X, Y, batch=(1, 2), plan=plan) as step:
        expected = list(zoo.leaves(step(WEIGHTS, X, Y)))
        order = step.stats().order
        step.save(tmp_path / "step.atoll")
    with atoll.load(tmp_path / "step.atoll", topology="2 x cpu[1]") as loaded:
        results = loaded(WEIGHTS, X, Y)
        same(zoo.leaves(results), expected, exact=True)
        assert loaded.plan == plan
        assert loaded.stats().order == order
        (weights,), (_, x) = loaded.put(WEIGHTS), loaded.put(..., X)
        same(zoo.leaves(loaded(weights, x, Y)), expected, exact=True)


def test_wrong_shapes_are_told_by_the_whole_batch():
    with (
        compiled(logits, WEIGHTS, X, batch=(1,)) as step,
        pytest.raises(UsageError, match=r"x is float32\[4, 4\], but the step was compiled for float32\[8, 4\]"),
    ):
        step(WEIGHTS, X[:4])


def test_sums_of_half_precision_are_kept_in_single():
    """Adding up 64 gradients of one in bfloat16 would stop at 256: each is too small for its last bit."""

    def fn(weight, x):
        return jax.grad(lambda w: jnp.sum(w * x, dtype=jnp.bfloat16))(weight)

    x = jnp.full((512,), 1.0, jnp.bfloat16).at[0].set(256.0)
    with compiled(fn, jnp.bfloat16(1.0), x, batch=(1,), islands=1, plan=atoll.Plan(microbatches=512)) as step:
        assert float(step(jnp.bfloat16(1.0), x)) == 768.0
        sums = [buffer.dtype for island in step.program.islands for buffer in island.buffers]
        assert "float32" in sums


@BY_XLA
def test_two_thousand_counts_are_exact():
    def fn(x):
        return jnp.sum(x > 0), jnp.max(x), jnp.min(x), jnp.any(x > 2), jnp.all(x > -9), jnp.sum(x.astype(jnp.int32))

    check(fn, zoo.normal(6, 1024, scale=3.0), batch=(0,), plan=ANY_CUT, exact=True)
