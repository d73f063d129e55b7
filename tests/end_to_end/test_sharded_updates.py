"""The update sharded over replicas: the answer of `jax.jit`, a share of the state on each, and the bytes of two halves
of an exchange."""

import functools
import itertools
from dataclasses import replace

import jax
import jax.numpy as jnp
import layered_loops  # noqa: F401 (its models)
import layered_optimizers  # noqa: F401 (its models)
import numpy
import optax
import pytest
import zoo
from atoll.compiler.lowered import compile_module
from atoll.compiler.mlir.ir_text import parse_text
from atoll.compiler.module.notes import Gathered, NeededWhole, NotDivisible, OneReplica
from atoll.compiler.topology.topology import Topology
from layered import LAYERS, WIDTH
from layered_checks import check_steps, model_named, plan_of
from layered_checks import compiled as layered_compiled
from microbatched import BY_XLA, compiled_by_xla, error_of, evaluated  # noqa: F401 (fixtures)
from optimized import ROWS, batches_of, check_same, expected_of, mlp, transformer
from random_updates import random_update
from references import reference
from replicated import check_same_bits, hashes_of

import atoll

pytestmark = pytest.mark.own

ADAM = optax.adam(1e-2)


def plan(stages=1, microbatches=1, replicas=2, **options):
    return atoll.Plan(
        stages=stages, microbatches=microbatches, replicas=replicas, schedule="1f1b", update="sharded", **options
    )


def shared_paths(step):
    """The arguments of which each replica has a share alone."""
    found = (one for one in step.program.inputs if "state" in one.path and one.places)
    return {one.path for one in found if all(len(copies) == 1 for copies in one.places)}


def not_shared(step):
    """What the report says of state that every replica has whole, and of what is gathered in the update."""
    kinds = (OneReplica, NeededWhole, NotDivisible, Gathered)
    return [one.fact for one in step.report().notes if isinstance(one.fact, kinds)]


# Models and optimizers.


OPTIMIZED = [
    *((mlp, name, 2, stages, 2) for stages, name in enumerate(("sgd", "momentum"), 1)),
    *((mlp, name, 2, 2, 1) for name in ("adam", "clipped", "if_finite", "loss_scale_cond", "loss_scale_where")),
    (mlp, "adamw", 4, 1, 1),
    (mlp, "factored", 2, 1, 1),
    (mlp, "unfactored", 2, 2, 1),
    (mlp, "lion", 2, 2, 2),
    (mlp, "lamb", 2, 2, 1),
    (mlp, "multi_steps", 2, 1, 1),
    (mlp, "multi_steps_clipped", 2, 2, 1),
    (mlp, "master_half", 2, 1, 1),
    (transformer, "adamw", 2, 2, 2),
]
# Those whose sums, one over each replica, are rounded to half a precision.
HALF = ("master_half",)


@pytest.mark.one_in(7)
@pytest.mark.parametrize(("build", "name", "replicas", "stages", "microbatches"), OPTIMIZED)
def test_optimizers(build, name, replicas, stages, microbatches):
    model, row = build(), ROWS[name]
    function, state = row.build(model)
    batch = model.batches[0]
    if stages == 2:
        stages = model.stages
    with atoll.compile(
        function,
        state,
        *batch,
        topology=f"{replicas * (1 if stages == 1 else 2)} x cpu[1]",
        batch_argnums=tuple(range(1, 1 + len(batch))),
        donate_argnums=(0,),
        plan=plan(stages, microbatches, replicas),
    ) as step:
        found = jax.tree.map(jnp.copy, state)
        for batch, expected in zip(batches_of(model, row), expected_of(model, name), strict=True):
            found, *rest = step(found, *batch)
            if name in HALF:
                for ours, theirs in zip(zoo.leaves(found[0]), zoo.leaves(expected[0][0]), strict=True):
                    numpy.testing.assert_allclose(ours.astype("f4"), theirs.astype("f4"), atol=2e-2)
            else:
                check_same((found, *rest), expected)
            check_same_bits_of_wholes(found, replicas)
        moments = {path for path in paths_of(state) if any(key in path for key in (".mu", ".nu", ".trace"))}
        assert moments & shared_paths(step) or not moments, not_shared(step)


def paths_of(state):
    leaves = jax.tree_util.tree_leaves_with_path(state)
    return {f"state{jax.tree_util.keystr(path)}" for path, leaf in leaves if leaf.size > 1}


def check_same_bits_of_wholes(state, replicas):
    """What is whole is in each replica, with the same bits."""
    check_same_bits(state, replicas)
    for leaf in jax.tree.leaves(state[0]):
        assert len(leaf.islands) >= replicas


# What is shared, and what crosses.


def step_by(optimizer):
    def step(state, x, y):
        params, opt_state = state

        def loss_fn(params):
            with jax.named_scope("first"):
                h = jnp.tanh(x @ params["first"] + params["bias"])
            with jax.named_scope("second"):
                return jnp.mean((h @ params["second"] - y) ** 2)

        loss, gradients = jax.value_and_grad(loss_fn)(params)
        updates, opt_state = optimizer.update(gradients, opt_state, params)
        return (optax.apply_updates(params, updates), opt_state), loss

    return step


adam = step_by(ADAM)

PARAMS = {"first": zoo.normal(1, 8, 12), "bias": zoo.normal(2, 12), "second": zoo.normal(3, 12, 4)}
START = jax.tree.map(numpy.asarray, (PARAMS, ADAM.init(PARAMS)))
SIZES = {"first": 4 * 8 * 12, "bias": 4 * 12, "second": 4 * 12 * 4}


def batch_of(number):
    random = numpy.random.default_rng(number)
    return random.normal(size=(24, 8)).astype("float32"), random.normal(size=(24, 4)).astype("float32")


def adam_on(islands, chosen, **options):
    return atoll.compile(
        adam, START, *batch_of(0), topology=islands, plan=chosen, batch_argnums=(1, 2), donate_argnums=0, **options
    )


@pytest.mark.one_in(4)
@BY_XLA
@pytest.mark.parametrize(("replicas", "stages"), [(2, 1), (2, 2), (3, 1), (4, 1)])
def test_each_replica_keeps_its_share(replicas, stages):
    """The moments are on an island each part, and their parts are the whole; what crosses are gradients and parameters,
    each replica's shares of the others to them and its own from it."""
    chosen = plan("first | second" if stages == 2 else 1, 1, replicas, segments=1)
    with adam_on(f"{replicas * stages} x cpu[1]", chosen) as step:
        state, _ = step(START, *batch_of(0))
        expected, _ = reference(adam, START, *batch_of(0))
        assert error_of(zoo.leaves(state), list(zoo.leaves(expected))) < 1e-5
        for moments in (state[1][0].mu, state[1][0].nu):
            for moment in moments.values():
                assert [len(part.islands) for part in moment.parts] == [1] * replicas
                assert len(moment.islands) == replicas
                whole = numpy.empty(moment.shape, moment.dtype)
                for part in moment.parts:
                    whole[part.index] = part.read()
                assert numpy.array_equal(whole, moment)
        for parameter in state[0].values():
            assert [len(part.islands) for part in parameter.parts] == [replicas]
        sent = step.stats().bytes_per_link
        homes = {name: 0 if stages == 1 or name != "second" else 1 for name in SIZES}
        for stage in range(stages):
            size = sum(SIZES[name] for name, home in homes.items() if home == stage)
            twins = [f"island{stage + stages * one}" for one in range(replicas)]
            loss_bytes = 4 * (stage == stages - 1)
            for link in itertools.permutations(twins, 2):
                assert sent[link] == 2 * size // replicas + loss_bytes
        forms = {(one.form, one.sums) for one in step.report().exchanges}
        assert {form for form, _ in forms} == {"direct", "scatter", "gather"}
        assert not not_shared(step)


@pytest.mark.one_in(3)
@pytest.mark.parametrize(
    "around", [lambda one: one, lambda one: optax.MultiSteps(one, 2), lambda one: optax.apply_if_finite(one, 3)]
)
def test_of_a_norm_one_number_is_exchanged(around):
    """Also where it is in a branch, and then all is shared as it is without the norm."""
    found = []
    for optimizer in (around(ADAM), around(optax.chain(optax.clip_by_global_norm(0.1), ADAM))):
        lowered = atoll.lower(
            step_by(optimizer),
            (PARAMS, optimizer.init(PARAMS)),
            *batch_of(0),
            topology="4 x cpu[1]",
            plan=plan("first | second", 1, segments=1),
            batch_argnums=(1, 2),
            donate_argnums=0,
        )
        assert not not_shared(lowered)
        twins = {("island0", "island2"), ("island1", "island3")}
        found.append(sum(one.bytes for one in lowered.report().links if (one.source, one.target) in twins))
    plain, clipped = found
    assert clipped == plain + 4


def test_memory_of_the_state():
    """Of the moments each island has half, of the parameters all."""
    found = {}
    for update in ("whole", "sharded"):
        with adam_on("2 x cpu[1]", replace(plan(), update=update)) as step:
            found[update] = [island.input_bytes for island in step.report().islands]
    moments = 2 * sum(SIZES.values())
    assert found["sharded"] == [whole - moments // 2 for whole in found["whole"]]


@BY_XLA
def test_two_replicas_have_the_bits_of_a_whole_update():
    """Both add the same two numbers, and what Adam does to one it does to each by itself."""
    found = []
    for update in ("whole", "sharded"):
        with adam_on("2 x cpu[1]", replace(plan(), update=update)) as step:
            state = START
            for number in range(5):
                state, _ = step(state, *batch_of(number))
            found.append([leaf.tobytes() for leaf in zoo.leaves(state)])
    assert found[0] == found[1]


@BY_XLA
def test_bits_after_many_steps_and_a_restart(tmp_path):
    with adam_on("4 x cpu[1]", plan(2, 2)) as step:
        state, middle = START, None
        for number in range(50):
            state, loss = step(state, *batch_of(number))
            if number == 24:
                middle = jax.tree.map(numpy.array, state)
        hashes = hashes_of(state)
        check_same_bits((state, loss), 2)
        assert step.stats().bytes_per_link == {(one.source, one.target): one.bytes for one in step.report().links}
        step.save(tmp_path / "step.atoll")
    with atoll.load(tmp_path / "step.atoll") as step:
        for number in range(25, 50):
            middle, _ = step(middle, *batch_of(number))
        assert hashes_of(middle) == hashes


def test_a_state_of_another_plan_is_taken():
    """What a step with a whole update returned, and the other way round: the parts are put where they are needed."""
    with adam_on("2 x cpu[1]", plan()) as sharded, adam_on("2 x cpu[1]", replace(plan(), update="whole")) as whole:
        expected = START
        found = START
        for number, step in enumerate((sharded, whole, sharded)):
            expected, _ = reference(adam, expected, *batch_of(number))
            found, _ = step(found, *batch_of(number))
        assert error_of(zoo.leaves(found[0]), list(zoo.leaves(expected[0]))) < 1e-4


@pytest.mark.parametrize("divided", [False, True])
def test_sums_of_each_column_are_divided_within_an_island(divided):
    """What replicas combine need not be a scalar, nor divided as what is made of it."""

    def step_fn(state, x):
        gradient = jax.grad(lambda w: jnp.mean((x @ w) ** 2))(state["w"])
        mean = 0.9 * state["mean"] + gradient
        squares = jnp.sum(mean * mean, axis=0)
        largest = jnp.max(jnp.abs(mean), axis=0)
        if divided:
            squares = jax.lax.with_sharding_constraint(squares, jax.sharding.PartitionSpec("d"))
        return {"w": state["w"] - 0.1 * mean / (1 + squares), "mean": mean}, largest

    state, x = {"w": zoo.normal(1, 8, 6), "mean": zoo.normal(2, 8, 6)}, zoo.normal(3, 24, 8)
    with atoll.compile(step_fn, state, x, topology="2 x cpu[d=2]", plan=plan(), batch_argnums=1) as step:
        found = step(state, x)
        divided = False  # jax.jit knows no axis
        assert error_of(zoo.leaves(found), list(zoo.leaves(reference(step_fn, state, x)))) < 1e-5
        assert shared_paths(step) == {"state['mean']"}


def test_what_is_returned_beside_the_state():
    """Norms, gradients, and parameters as they were: whole, on each replica."""

    def step_fn(state, x, y):
        (params, moments), loss = adam(state, x, y)
        old = state[0]
        norm = optax.tree.norm(moments[0].mu)
        largest = jax.tree.map(lambda one: jnp.max(jnp.abs(one)) + 1, moments[0].nu)
        return (params, moments), loss, norm, largest, old, moments[0].mu["first"]

    for chosen in (plan(), plan("first | second", 2)):
        islands = f"{2 if chosen.stages == 1 else 4} x cpu[1]"
        with atoll.compile(
            step_fn, START, *batch_of(0), topology=islands, plan=chosen, batch_argnums=(1, 2), donate_argnums=0
        ) as step:
            found = step(START, *batch_of(0))
            expected = reference(step_fn, START, *batch_of(0))
            assert error_of(zoo.leaves(found), list(zoo.leaves(expected))) < 1e-5
            check_same_bits(found[1:], 2)


def test_one_replica_has_the_whole_update():
    with adam_on("1 x cpu[1]", plan(replicas=1)) as step:
        step(START, *batch_of(0))
        assert "atoll.share" not in step.ir("staged")


def test_what_is_divided_within_islands_stays_divided():
    """Shares are along a dimension that the devices of an island do not divide, if there is one."""
    by_model = {"first": (None, "model"), "bias": ("model",), "second": ("model", None)}
    specs = {name: jax.sharding.PartitionSpec(*axes) for name, axes in by_model.items()}
    moments = optax.ScaleByAdamState(jax.sharding.PartitionSpec(), specs, specs)
    shardings = ((specs, (moments, optax.EmptyState())), None, None)
    with adam_on("2 x cpu[data=2, model=2]", plan(microbatches=2), in_shardings=shardings) as step:
        state, _ = step(START, *batch_of(0))
        expected, _ = reference(adam, START, *batch_of(0))
        assert error_of(zoo.leaves(state), list(zoo.leaves(expected))) < 1e-5
        along = {one.path: one.starts for one in step.program.inputs if ".mu" in one.path}
        assert along["state[1][0].mu['first']"] == ((0, 0), (4, 0))
        assert along["state[1][0].mu['second']"] == ((0, 0), (0, 2))
        # The bias has one dimension, which devices and replicas divide.
        assert along["state[1][0].mu['bias']"] == ((0,), (6,))
        assert not not_shared(step)


@BY_XLA
def test_a_dump_of_each_phase_is_resumed():
    with adam_on("2 x cpu[1]", plan(microbatches=2)) as step:
        expected = [leaf.tobytes() for leaf in zoo.leaves(step(START, *batch_of(0)))]
        dumps = {phase: step.ir(phase, debug_info=True) for phase in step.phases[:-1]}
    for phase, text in dumps.items():
        with compile_module(parse_text(text), Topology.parse("2 x cpu[1]")) as again:
            found = again.call_flat([*map(numpy.copy, jax.tree.leaves(START)), *batch_of(0)])
            assert [numpy.asarray(leaf).tobytes() for leaf in found] == expected, phase


# Stacked layers.


@pytest.mark.one_in(4)
@pytest.mark.parametrize(
    ("name", "stages", "microbatches", "replicas", "segments"),
    [
        ("optimizer_adamw_clipped", 1, 1, 2, 2),
        ("optimizer_adamw_clipped", 2, 2, 2, 1),
        ("optimizer_adafactor", 2, 1, 2, 1),
        ("optimizer_lamb", 1, 2, 2, 4),
        ("optimizer_skips_if_not_finite", 2, 1, 2, 1),
        ("optimizer_average_of_updates", 1, 1, 2, 1),
        ("decoder_recomputed", 2, 2, 2, 2),
        ("decoder_recomputed", 1, 1, 4, 1),
    ],
)
def test_stacked_layers(name, stages, microbatches, replicas, segments):
    """Of each stage's layers a replica has a share, along whichever dimension is shared evenly."""
    model = model_named(name)
    chosen = replace(plan_of(model, stages, microbatches), replicas=replicas, segments=segments, update="sharded")
    topology = f"{replicas * stages} x cpu[1]"
    with layered_compiled(model, stages, microbatches, topology=topology, plan=chosen) as step:
        check_steps(step, model, steps=3, also=lambda results: check_same_bits(results, replicas))
        assert shared_paths(step)
        stacked = [one for one in step.program.inputs if one.shape[:1] == (LAYERS,) and one.path in shared_paths(step)]
        assert stacked
        for one in stacked:
            assert len(one.places) == stages * segments * replicas or one.shape[1:] != (WIDTH, WIDTH)


@pytest.mark.parametrize("key", [jax.random.key(3), jax.random.PRNGKey(3)], ids=["typed", "words"])
def test_keys_stay_whole(key):
    def step_fn(state, x):
        gradient = jax.grad(lambda w: jnp.mean((x @ w) ** 2))(state["w"])
        key, own = jax.random.split(state["key"])
        mean = 0.9 * state["mean"] + gradient + jax.random.normal(own, gradient.shape)
        return {"w": state["w"] - mean, "mean": mean, "key": key, "other": state["other"]}

    state = {"w": zoo.normal(1, 8, 4), "mean": jnp.zeros((8, 4)), "key": key, "other": key}
    with atoll.compile(
        step_fn, state, zoo.normal(2, 12, 8), topology="2 x cpu[1]", plan=plan(), batch_argnums=1
    ) as step:
        found, expected = step(state, zoo.normal(2, 12, 8)), reference(step_fn, state, zoo.normal(2, 12, 8))
        assert error_of(zoo.leaves(found), list(zoo.leaves(expected))) < 1e-5
        assert shared_paths(step) == {"state['mean']"}


def test_what_is_not_shared_is_told():
    def step_fn(state, x):
        def loss_fn(w):
            return jnp.mean((x @ w) ** 2)

        gradient = jax.grad(loss_fn)(state["w"])
        sorted_ = jnp.sort(state["history"] + gradient, axis=0)
        return {"w": state["w"] - 0.1 * gradient, "history": sorted_, "odd": state["odd"] * 2}

    state = {"w": zoo.normal(1, 8, 4), "history": jnp.zeros((8, 4)), "odd": jnp.zeros((3, 5))}
    x = zoo.normal(2, 12, 8)
    with atoll.compile(step_fn, state, x, topology="2 x cpu[1]", plan=plan(), batch_argnums=1) as step:
        found, expected = step(state, x), reference(step_fn, state, x)
        assert error_of(zoo.leaves(found), list(zoo.leaves(expected))) < 1e-5
        odd = NotDivisible("state['odd']", "3 x 5", is_in_pieces=False, replicas=2)
        assert odd in not_shared(step)
        assert str(odd) in str(step.report())


# Random updates.

RANDOM = 8


@pytest.mark.timeout(6 * 3600)  # for `--full`
def test_random_updates(request):
    """With sums over the batch in the place of what they are given; small whole numbers, so that every sum is exact."""
    first, is_full, is_quick = map(request.config.getoption, ("--first-seed", "--full", "--quick"))
    for seed in range(first, first + (25 * RANDOM if is_full else RANDOM // 2 if is_quick else RANDOM)):
        check_random(seed)


def check_random(seed):
    made = random_update(seed)
    text = made.text.replace("float64", "float32")
    names = {"jnp": jnp, "lax": jax.lax}
    exec(compile(text, f"update_{seed}.py", "exec"), names)
    replicas, microbatches = 2 + seed % 2, 1 + seed % 3

    def step_fn(state, batch):
        sums = [jnp.sum(one, 0) for one in batch]
        return *names["update"](state, *sums), sums[-1]  # there are updates that take none of them

    state = {name: one.astype("float32") for name, one in made.state.items()}
    parts = numpy.random.default_rng(seed)
    batch = []
    for one in made.given:  # examples of which it is the sum
        rest = parts.integers(-4, 5, (35, *one.shape))
        batch.append(numpy.concatenate([rest, [one - rest.sum(0)]]).astype("float32"))
    chosen = plan(1 + seed % 2, microbatches, replicas)
    islands = f"{replicas * (1 + seed % 2)} x cpu[1]"
    with atoll.compile(step_fn, state, batch, topology=islands, plan=chosen, batch_argnums=1) as step:
        expected = jax.tree.leaves(reference(step_fn, state, batch))
        for ours, theirs in zip(zoo.leaves(step(state, batch)), expected, strict=True):
            assert numpy.array_equal(ours, theirs), f"seed {seed}, {chosen}\n{text}"


# Shardings within islands that parameter, gradient and state do not have in common.

P = jax.sharding.PartitionSpec
ROWS_OF, COLUMNS_OF = P("d"), P(None, "d")


def momentum(state, x, constraint=None, what=""):
    gradient = jax.grad(lambda w: jnp.mean((x @ w) ** 2))(state["w"])
    if what == "gradient":
        gradient = jax.lax.with_sharding_constraint(gradient, constraint)
    mean = 0.9 * state["mean"] + gradient
    if what == "mean":
        mean = jax.lax.with_sharding_constraint(mean, constraint)
    return {"w": state["w"] - 0.1 * mean, "mean": mean}


@pytest.mark.one_in(4)
@pytest.mark.parametrize("spec", [ROWS_OF, COLUMNS_OF], ids=["rows", "columns"])
@pytest.mark.parametrize("what", ["mean", "gradient", "argument mean", "argument w", "result mean", "result w"])
def test_unlike_shardings_within_an_island(what, spec):
    """A share may be divided otherwise than what it is of: it is resharded where it is cut or joined."""
    function, options = functools.partial(momentum, constraint=spec, what=what), {}
    where, _, name = what.partition(" ")
    if name:
        specs = {"w": P(), "mean": P(), name: spec}
        options = {"in_shardings": (specs, P())} if where == "argument" else {"out_shardings": specs}
        function = momentum
    state, x = {"w": zoo.normal(1, 8, 8), "mean": zoo.normal(2, 8, 8)}, zoo.normal(3, 24, 8)
    expected = reference(momentum, state, x)
    with atoll.compile(
        function, state, x, topology="2 x cpu[d=2]", plan=plan(microbatches=2), batch_argnums=1, **options
    ) as step:
        found = state
        for _ in range(2):
            found = step(state, x)
        assert error_of(zoo.leaves(found), list(zoo.leaves(expected))) < 1e-5
        assert shared_paths(step) == {"state['mean']"}
        check_same_bits(found, 2)
