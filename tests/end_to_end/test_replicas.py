"""Replicas: the answer of `jax.jit`, the same bits on all of them, and no more bytes than are counted by hand."""

import itertools

import jax
import jax.numpy as jnp
import numpy
import optax
import pytest
import zoo
from atoll.compiler.errors import AtollError, CompileError, PlanError
from atoll.compiler.lowered import compile_module
from atoll.compiler.mlir.ir_text import parse_text
from atoll.compiler.topology.topology import Topology
from atoll.runtime.program import Receive, Run, Send
from jax.sharding import PartitionSpec
from microbatched import (
    BY_XLA,
    compiled,
    compiled_by_xla,  # noqa: F401 (a fixture)
    error_of,
    evaluated,  # noqa: F401 (a fixture)
)
from references import reference
from replicated import check_same_bits, hashes_of

import atoll

pytestmark = pytest.mark.own


def topology(islands, link="", island="cpu[1]"):
    """Islands that are all linked alike."""
    lines = [f"island island{number} : {island}" for number in range(islands)]
    pairs = itertools.combinations(range(islands), 2) if link else ()
    return "\n".join([*lines, *(f"link island{one} <-> island{other} : {link}" for one, other in pairs)])


# Bandwidth is what counts: the ring is faster from a few bytes on.
NARROW = "1 kB/s, 0 s"


# Models.


MODELS = [
    ("mlp_adam", 2, 2, 4, "1f1b", ""),
    ("mlp_adamw_clipped", 2, 2, 2, "zb-h1", ""),
    ("mlp_sgd", 4, 1, 1, "auto", NARROW),
    ("transformer", 2, 2, 2, "auto", ""),
    ("tied_embedding", 2, 2, 4, "1f1b", ""),
    ("variational_autoencoder", 2, 1, 2, "auto", ""),
    ("gradient_of_gradient", 2, 2, 2, "auto", ""),
    ("mlp_inference", 2, 2, 2, "forward-only", ""),
    ("passed_through_twice_and_unused", 2, 1, 2, "auto", ""),
]
MORE_MODELS = [
    ("mlp_adafactor", 4, 2, 2, "gpipe", NARROW),
    ("mlp_lamb", 2, 1, 1, "auto", ""),
    ("transformer", 2, 1, 1, "auto", NARROW),
    ("mixture_of_experts", 2, 2, 1, "auto", ""),
    ("checkpointed", 2, 2, 4, "interleaved-1f1b(2)", ""),
    ("control_flow", 2, 2, 2, "auto", ""),
    ("variational_autoencoder", 4, 1, 2, "auto", ""),
    ("mlp_inference", 4, 2, 1, "auto", ""),
]


def pytest_generate_tests(metafunc):
    if "schedule" in metafunc.fixturenames:
        chosen = [*MODELS, *(MORE_MODELS if metafunc.config.getoption("full") else [])]
        metafunc.parametrize(("name", "replicas", "stages", "microbatches", "schedule", "link"), chosen)


@pytest.mark.one_in(3)
def test_same_answer_as_jit(name, replicas, stages, microbatches, schedule, link):
    case = zoo.CASES[name]()
    stages *= 2 if "(2)" in schedule else 1
    islands = replicas * (stages // 2 if "(2)" in schedule else stages)
    plan = atoll.Plan(stages=stages, microbatches=microbatches, schedule=schedule, replicas=replicas)
    with compiled(case, plan, topology(islands, link)) as step:
        found = step(*zoo.arguments_of(case))
        expected = reference(case.fn, *case.args)
        assert jax.tree.structure(found) == jax.tree.structure(expected)
        assert error_of(zoo.leaves(found), list(zoo.leaves(expected))) < 1e-5
        check_same_bits(found, replicas)
        stats, report = step.stats(), step.report()
        assert stats.bytes_per_link == {(link.source, link.target): link.bytes for link in report.links}
        assert report.replicas == replicas
        kinds = {kind: count for kind, count in stats.tasks.items() if kind in "FBW"}
        assert all(count % replicas == 0 for count in kinds.values())
        rows = [[task for task in order if task[0] in "FBW"] for order in stats.order.values()]
        count = len(rows) // replicas
        for replica in range(replicas):
            assert rows[replica * count : (replica + 1) * count] == rows[:count]


@pytest.mark.parametrize("segments", [1, 2])
def test_the_two_halves_of_a_tied_gradient_are_exchanged_as_one(segments):
    """Where they are worth messages of their own: the last stage's goes to the first, which exchanges their sum."""
    case = zoo.CASES["tied_embedding"]()
    plan = atoll.Plan(stages=2, microbatches=4, schedule="1f1b", replicas=2, segments=segments)
    with compiled(case, plan, topology(4, NARROW)) as step:
        found = step(*zoo.arguments_of(case))
        expected = list(zoo.leaves(reference(case.fn, *case.args)))
        assert error_of(zoo.leaves(found), expected) < 1e-5
        check_same_bits(found, 2)
        sent = step.stats().bytes_per_link
    _, loss, gradients = found
    each = sum(leaf.nbytes for leaf in jax.tree.leaves((loss, gradients)))
    assert sent["island0", "island2"] + sent["island1", "island3"] == each
    assert sent["island2", "island0"] + sent["island3", "island1"] == each


def dropped_out(params, key, x, weight, y):
    """A train step with dropout, and a mean over the examples that count, which takes a loop before the main one."""

    def loss_fn(params):
        with jax.named_scope("first"):
            h = jnp.tanh(x @ params["first"])
            kept = jax.random.bernoulli(key, 0.5, h.shape)
            h = jnp.where(kept, h * 2, 0)
        with jax.named_scope("second"):
            losses = jnp.sum((h @ params["second"] - y) ** 2, axis=-1)
            return jnp.sum(weight * losses) / jnp.sum(weight), kept

    (loss, kept), gradients = jax.value_and_grad(loss_fn, has_aux=True)(params)
    return loss, gradients, kept


@pytest.mark.one_in(2)
@pytest.mark.parametrize(("replicas", "stages", "microbatches"), [(2, 2, 2), (3, 1, 4), (3, 2, 1), (4, 1, 1)])
def test_masked_mean_and_dropout(replicas, stages, microbatches):
    params = {"first": zoo.normal(1, 6, 8), "second": zoo.normal(2, 8, 3)}
    x, y = zoo.normal(3, 12, 6), zoo.normal(4, 12, 3)
    arguments = params, jax.random.key(5), x, (jnp.arange(12) % 5 < 3).astype("float32"), y
    plan = atoll.Plan(stages=stages, microbatches=microbatches, replicas=replicas, schedule="1f1b")
    expected = list(zoo.leaves(reference(dropped_out, *arguments)))
    with atoll.compile(
        dropped_out, *arguments, topology=topology(replicas * stages), plan=plan, batch_argnums=(2, 3, 4)
    ) as step:
        found = step(*arguments)
        assert error_of(zoo.leaves(found), expected) < 1e-5  # and of integers and booleans the bits
        check_same_bits(found, replicas)
        assert len(found[0].islands) == len(found[1]["first"].islands) == replicas
        # The mask is in parts, one a microbatch, on one and the same stage of each replica.
        one_stage = [tuple(f"island{one * stages + stage}" for one in range(replicas)) for stage in range(stages)]
        assert found[2].islands in one_stage
        # What the loop before the main one adds up is exchanged as well.
        assert {one.task for one in step.report().exchanges} >= {"L0.F0"} or stages > 1


def test_every_kind_of_sum():
    def fn(x, flags):
        numbers = jnp.arange(x.shape[0])
        return {
            "add": jnp.sum(x, 0),
            "max": jnp.max(x, 0),
            "min": jnp.min(x, 0),
            "and": jnp.all(flags, 0),
            "or": jnp.any(flags, 0),
            "count": jnp.sum(flags, 0, dtype="int32"),
            "weighted": numbers @ (x > 0),
            "complex": jnp.sum(jax.lax.complex(x, -x), 0),
            "narrow": jnp.sum(x.astype("bfloat16"), 0),
        }

    x = zoo.normal(1, 12, 5)
    arguments = x, x > -1
    expected = list(zoo.leaves(reference(fn, *arguments)))
    for replicas, link in ((2, ""), (3, NARROW)):
        plan = atoll.Plan(replicas=replicas, microbatches=2)
        with atoll.compile(fn, *arguments, topology=topology(replicas, link), plan=plan, batch_argnums=(0, 1)) as step:
            found = step(*arguments)
            for one, other in zip(zoo.leaves(found), expected, strict=True):
                assert one.dtype == other.dtype
                numpy.testing.assert_allclose(
                    one.astype("complex64"), other.astype("complex64"), rtol=0.02 if one.dtype == "bfloat16" else 1e-5
                )
            check_same_bits(found, replicas)
            assert {one.form for one in step.report().exchanges} == {"direct" if replicas == 2 else "ring"}


def test_stacked_layers():
    """Two pieces of a stacked parameter, each with a copy in each replica; what crosses is exchanged sums."""

    def step(params, x, y):
        def loss_fn(params):
            with jax.named_scope("layers"):
                h, _ = jax.lax.scan(lambda h, w: (jnp.tanh(h @ w), None), x, params["layers"])
            with jax.named_scope("head"):
                return jnp.mean((h @ params["head"] - y) ** 2)

        loss, gradients = jax.value_and_grad(loss_fn)(params)
        return jax.tree.map(lambda p, g: p - g, params, gradients), loss, gradients

    params = {"layers": numpy.asarray(zoo.normal(1, 6, 8, 8)), "head": numpy.asarray(zoo.normal(2, 8, 8))}
    x, y = numpy.asarray(zoo.normal(3, 12, 8)), numpy.asarray(zoo.normal(4, 12, 8))
    expected = list(zoo.leaves(reference(step, params, x, y)))
    plan = atoll.Plan(stages="layers[0..3] | layers[4..5], head", microbatches=2, replicas=2)
    with atoll.compile(
        step, params, x, y, topology="4 x cpu[1]", plan=plan, batch_argnums=(1, 2), donate_argnums=0
    ) as compiled:
        found = compiled(params, x, y)
        assert error_of(zoo.leaves(found), expected) < 1e-5
        check_same_bits(found, 2)
        assert set(found[0]["layers"].islands) == {"island0", "island1", "island2", "island3"}
        compiled(found[0], x, y)  # stays where it is
        sent = compiled.stats().bytes_per_link
        assert (sent["island0", "island2"], sent["island1", "island3"]) == (4 * 4 * 64, 4 * 3 * 64 + 4)


# Many steps.


def adam(state, x, y):
    params, moments = state

    def loss_fn(params):
        return jnp.mean((jnp.tanh(jnp.tanh(x @ params["a"]) @ params["b"]) @ params["c"] - y) ** 2)

    loss, gradients = jax.value_and_grad(loss_fn)(params)
    updates, moments = optax.adam(1e-2).update(gradients, moments, params)
    return (optax.apply_updates(params, updates), moments), loss


def batch_of(number):
    """A pure function of the step."""
    random = numpy.random.default_rng(number)
    return [random.normal(size=(12, 8)).astype("float32") for _ in range(2)]


@pytest.mark.one_in(3)
@BY_XLA
@pytest.mark.parametrize(
    ("replicas", "stages", "microbatches", "link"), [(2, 2, 2, ""), (3, 1, 1, NARROW), (2, 1, 3, "1 GB/s, 1 ms")]
)
def test_bits_after_many_steps_and_a_restart(replicas, stages, microbatches, link, tmp_path):
    params = {name: zoo.normal(number, 8, 8, scale=0.3) for number, name in enumerate("abc")}
    start = jax.tree.map(numpy.asarray, (params, optax.adam(1e-2).init(params)))
    plan = atoll.Plan(stages=stages, microbatches=microbatches, replicas=replicas, schedule="1f1b")
    options = {"topology": topology(replicas * stages, link), "plan": plan}
    with atoll.compile(adam, start, *batch_of(0), **options, batch_argnums=(1, 2), donate_argnums=0) as step:
        state, middle = start, None
        for number in range(50):
            state, loss = step(state, *batch_of(number))
            if number == 24:
                middle = jax.tree.map(numpy.array, state)
        hashes = hashes_of(state)
        check_same_bits((state, loss), replicas)
        step.save(tmp_path / "step.atoll")
    by_replica = [[hashes[f"island{first + one}"] for one in range(stages)] for first in range(0, len(hashes), stages)]
    assert by_replica == by_replica[:1] * replicas
    expected = start
    for number in range(3):
        expected, _ = reference(adam, expected, *batch_of(number))
    with atoll.load(tmp_path / "step.atoll") as step:
        found = start
        for number in range(3):
            found, _ = step(found, *batch_of(number))
        assert error_of(zoo.leaves(found[0]), list(zoo.leaves(expected[0]))) < 1e-4
        for number in range(25, 50):
            middle, _ = step(middle, *batch_of(number))
        assert hashes_of(middle) == hashes


# What crosses.


def gradients(params, x):
    def loss_fn(params):
        with jax.named_scope("first"):
            h = jnp.tanh(x @ params["first"] + params["bias"])
        with jax.named_scope("second"):
            return jnp.mean((h @ params["second"]) ** 2)

    return jax.value_and_grad(loss_fn)(params)


PARAMS = {
    "first": numpy.ones((8, 6), "float32"),
    "bias": numpy.ones(6, "float32"),
    "second": numpy.ones((6, 4), "float32"),
}
X = numpy.ones((12, 8), "float32")


def step_of(replicas, stages, microbatches=2, link="", **options):
    texts = {"topology": topology(replicas * stages, link, options.pop("island", "cpu[1]"))}
    plan = atoll.Plan(stages=stages, microbatches=microbatches, replicas=replicas, schedule="1f1b", segments=1)
    return atoll.compile(gradients, PARAMS, X, **texts, plan=plan, batch_argnums=1, **options)


def test_bytes_of_two_replicas():
    """Each sends its sums to the other, once; and within a replica activations and cotangents cross."""
    with step_of(2, 2) as step:
        step(PARAMS, X)
        first, second, activations = 4 * (8 * 6 + 6), 4 * (6 * 4 + 1), 4 * 6 * 6  # 6 examples of 6 in each replica
        assert step.stats().bytes_per_link == {
            **dict.fromkeys([("island0", "island2"), ("island2", "island0")], first),
            **dict.fromkeys([("island1", "island3"), ("island3", "island1")], second),
            **dict.fromkeys([("island0", "island1"), ("island1", "island0")], activations),
            **dict.fromkeys([("island2", "island3"), ("island3", "island2")], activations),
        }


def test_bytes_of_a_ring():
    """Two thirds of everything goes round twice."""
    with step_of(3, 1, 1, NARROW) as step:
        step(PARAMS, X)
        sizes = 4 * (8 * 6 + 6 + 6 * 4)
        direct = [("island0", "island2"), ("island1", "island0"), ("island2", "island1")]  # only the loss, a scalar
        ring = [("island0", "island1"), ("island1", "island2"), ("island2", "island0")]
        sent = step.stats().bytes_per_link
        assert {link: sent[link] for link in direct} == dict.fromkeys(direct, 4)
        assert sum(sent[link] - 4 for link in ring) == 3 * (2 * 2 * sizes // 3)
        assert {one.form: one.sums for one in step.report().exchanges} == {"direct": 1, "ring": 3}


def test_bytes_of_a_tree():
    """Of eight replicas each but the first sends its sums once, and gets the totals on the same way. What has no
    dimension of eight cannot be cut into as many slices."""
    params = {"first": zoo.normal(1, 6, 5), "bias": zoo.normal(2, 5), "second": zoo.normal(3, 5, 7)}
    x = zoo.normal(4, 16, 6)
    plan = atoll.Plan(stages=1, microbatches=1, replicas=8, segments=1)
    with atoll.compile(gradients, params, x, topology=topology(8, NARROW), plan=plan, batch_argnums=1) as step:
        found = step(params, x)
        assert error_of(zoo.leaves(found), list(zoo.leaves(reference(gradients, params, x)))) < 1e-5
        check_same_bits(found, 8)
        assert {one.form for one in step.report().exchanges} == {"tree"}
        ways = [(1, 0), (3, 2), (5, 4), (7, 6), (2, 0), (6, 4), (4, 0)]
        links = [(f"island{one}", f"island{other}") for way in ways for one, other in (way, way[::-1])]
        assert step.stats().bytes_per_link == dict.fromkeys(links, 4 * (6 * 5 + 5 + 5 * 7 + 1))


def test_small_sums_are_packed_and_large_ones_are_not():
    """A message should take ten times the latency: 144 bytes at this speed."""
    with step_of(2, 1, link="144 kB/s, 100 us") as step:
        sends = [one for one in step.program.islands[0].instructions if isinstance(one, Send)]
        shapes = [step.program.islands[0].buffers[one.buffer].shape for one in sends]
        assert sorted(shapes) == [(), (6, 8), (30,)]
    with step_of(2, 1, link="144 kB/s, 0 s") as step:
        assert sum(isinstance(one, Send) for one in step.program.islands[0].instructions) == 4


def test_a_sum_is_sent_behind_the_last_task_that_makes_it():
    """And what comes of it is added when the update needs it."""
    plan = atoll.Plan(stages=2, microbatches=2, replicas=2, schedule="interleaved-1f1b(2)")
    with atoll.compile(
        lambda params, x: jax.tree.map(lambda p, g: p - g, params, gradients(params, x)[1]),
        PARAMS,
        X,
        topology="2 x cpu[1]",
        plan=plan,
        batch_argnums=1,
    ) as step:
        stream = step.program.islands[0].instructions
        said = [one.task if isinstance(one, Run) else type(one).__name__ for one in stream]
        last = max(number for number, one in enumerate(said) if one.startswith("B") and one.endswith("@1"))
        sent = next(number for number, one in enumerate(stream) if isinstance(one, Send))
        assert sent > last
        assert any("@0" in one for one in said[sent:])  # the first stage is still at work
        received = next(number for number, one in enumerate(stream) if isinstance(one, Receive))
        assert not any("@" in one for one in said[received:])


@BY_XLA
def test_what_devices_of_an_island_divide_stays_divided():
    shardings = ({"first": PartitionSpec(None, "model"), "bias": None, "second": PartitionSpec("model")}, None)
    expected = list(zoo.leaves(reference(gradients, PARAMS, X)))
    with step_of(2, 1, 3, island="cpu[data=2, model=2]", in_shardings=shardings, link="1 GB/s, 1 ms") as step:
        found = step(PARAMS, X)
        assert error_of(zoo.leaves(found), expected) < 1e-5
        check_same_bits(found, 2)
        buffers = step.program.islands[0].buffers
        sent = [buffers[one.buffer] for one in step.program.islands[0].instructions if isinstance(one, Send)]
        assert {(one.shape, one.spec) for one in sent if len(one.shape) == 2} == {
            ((6, 8), (("model",), ())),
            ((4, 6), ((), ("model",))),
        }


# What else knows of replicas.


def test_ir_does_not_grow_with_replicas():
    def lines(replicas):
        with step_of(replicas, 2, 1) as step:
            return [len(step.ir(phase).splitlines()) for phase in ("timed", "staged", "placed", "scheduled")]

    assert lines(2) == lines(4)


def test_report_prediction_and_memory():
    with step_of(2, 2, donate_argnums=0) as step:
        step(jax.tree.map(numpy.array, PARAMS), X)
        stats, report = step.stats(), step.report()
        assert {one.name: one.peak_bytes for one in report.islands} == stats.peak_bytes
        costs = [one.cost for one in report.islands]
        assert costs[:2] == costs[2:]
        text = str(report)
        assert "replicas  2: island0, island1 | island2, island3" in text
        assert "island0 <-> island2" in text
        assert report.pipeline.islands == ("island0", "island1")
        exchanges = [one for one in report.pipeline.exchanges if one.island == "island0"]
        assert sum(one.seconds for one in exchanges) == pytest.approx(100e-6 + 216 / 12.5e9, abs=1e-8)
        assert report.pipeline.microbatches == 2
        assert step.schedule.microbatches == 2
        assert type(report).from_json(report.to_json()) == report
        assert atoll.Plan.parse(str(step.plan)) == step.plan
        assert step.ir("program").count(" receive ") == stats.messages


def test_a_trace_has_all_replicas(tmp_path):
    with step_of(2, 2) as step:
        with step.trace(tmp_path / "trace.pftrace"):
            step(PARAMS, X)
        measured = step.report().measured
        assert {one.island for one in measured.tasks} == {f"island{number}" for number in range(4)}
        assert any(one.task.endswith(".add") for one in measured.tasks)
        step.report().svg()


def test_arguments_are_put_where_they_are_taken():
    with step_of(2, 2) as step:
        params, x = step.put(PARAMS, X)
        assert params["first"].islands == ("island0", "island2")
        assert params["second"].islands == ("island1", "island3")
        assert x.islands == ("island0", "island2")
        before = sum(step.stats().bytes_per_link.values()) if step(PARAMS, X) else 0
        step(params, x)
        assert sum(step.stats().bytes_per_link.values()) == before
        numpy.testing.assert_array_equal(x, X)


@BY_XLA
def test_a_dump_of_each_phase_is_resumed():
    expected = list(zoo.leaves(reference(gradients, PARAMS, X)))
    with step_of(2, 2) as step:
        dumps = {phase: step.ir(phase, debug_info=True) for phase in step.phases[:-1]}
    for text in dumps.values():
        with compile_module(parse_text(text), Topology.parse("4 x cpu[1]")) as again:
            leaves = [*jax.tree.leaves(PARAMS), X]
            assert error_of(map(numpy.asarray, again.call_flat(leaves)), expected) < 1e-5


# What is refused.


@pytest.mark.parametrize(
    ("islands", "plan", "sentence"),
    [
        (
            "3 x cpu[1]",
            atoll.Plan(replicas=2),
            "the plan asks for 2 replicas, and 3 islands cannot be divided into so many; "
            "choose replicas that divide 3, or give each as many islands",
        ),
        (
            "island a : cpu[1]; island b : cpu[2]; island c : cpu[1]; island d : cpu[x=2]",
            atoll.Plan(replicas=2),
            "d of replica 1 is cpu[x=2], and b of replica 0 is cpu[2]; "
            "islands count replica by replica: give every replica the same ones",
        ),
        (
            "2 x cpu[1]",
            atoll.Plan(replicas=2, microbatches=5),
            "x has 12 examples, which 2 replicas of 5 microbatches cannot share evenly; "
            "choose replicas and microbatches that divide the batch",
        ),
        (
            "8 x cpu[1]",
            atoll.Plan(replicas=8),
            "x has 12 examples, which 8 replicas cannot share evenly; choose replicas that divide the batch",
        ),
    ],
)
def test_a_plan_that_does_not_fit_is_refused(islands, plan, sentence):
    with pytest.raises(PlanError) as raised:
        atoll.compile(gradients, PARAMS, X, topology=islands, plan=plan, batch_argnums=1)
    assert raised.value.sentence.endswith(f": {sentence}")


def test_replicas_without_a_batch_are_refused():
    with pytest.raises(PlanError, match="the plan asks for 2 replicas, and no argument that is used carries the batch"):
        atoll.compile(gradients, PARAMS, X, topology="2 x cpu[1]", plan=atoll.Plan(replicas=2))


def test_effects_would_happen_in_every_replica():
    def step(x, rate):
        jax.debug.print("rate {}", rate)
        jax.debug.callback(lambda _: None, rate)
        return jnp.sum(x) * rate

    line = step.__code__.co_firstlineno + 2
    message = rf"test_replicas.py:{line}: .*would happen in every replica; take it out, or"
    with pytest.raises(CompileError, match=message):
        atoll.compile(step, X, 0.1, topology="2 x cpu[1]", plan=atoll.Plan(replicas=2), batch_argnums=0)


def test_each_replica_prints_and_says_which_it_is(capfd):
    def step(params, x, rate):
        jax.debug.print("rate {}", rate)
        loss, gradients = jax.value_and_grad(lambda w: jnp.mean(jnp.tanh(x @ w) ** 2))(params)
        jax.debug.print("loss {loss:.4f}", loss=loss)
        return jax.pure_callback(lambda w: w, params, params - rate * gradients)

    args = numpy.eye(8, 4, dtype="float32"), X, 0.5
    plan = atoll.Plan(replicas=2, microbatches=2, stages=1)
    expected = reference(step, *args)
    jax.effects_barrier()
    lines = capfd.readouterr().out.splitlines()
    assert len(lines) == 2
    with atoll.compile(step, *args, topology="2 x cpu[1]", plan=plan, batch_argnums=1) as compiled:
        numpy.testing.assert_allclose(compiled(*args), expected, rtol=1e-5, atol=1e-6)
    printed = capfd.readouterr().out.splitlines()
    assert sorted(printed) == sorted(f"replica {number}: {line}" for number in (0, 1) for line in lines)


@pytest.mark.parametrize("phase", ["staged", "placed", "scheduled"])
def test_a_dump_with_other_replicas_is_refused(phase):
    with step_of(2, 2, 1) as step:
        text = step.ir(phase).replace("replicas=2", "replicas=3")
    with pytest.raises(AtollError, match=r"3 replicas|is no task of the loop"):
        compile_module(parse_text(text), Topology.parse("4 x cpu[1]"))
