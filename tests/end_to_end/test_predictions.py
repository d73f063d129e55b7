"""What the report predicts is what the runtime counts: bytes that cross, and the most bytes that are alive."""

import gc

import jax
import jax.numpy as jnp
import numpy
import pytest
from atoll.compiler.report.buffers import lives_of
from atoll.runtime.program import Run
from microbatched import evaluated  # noqa: F401 (a fixture)

import atoll

pytestmark = pytest.mark.own

RANDOM = numpy.random.default_rng(0)


def matrix(*shape):
    return (0.3 * RANDOM.normal(size=shape)).astype(numpy.float32)


def layers(params, x):
    for index, layer in enumerate(params):
        with jax.named_scope(f"layer_{index}"):
            x = jnp.tanh(x @ layer["w"] + layer["b"])
    return x


def train(params, x, y):
    loss, grads = jax.value_and_grad(lambda params: jnp.mean((layers(params, x) - y) ** 2))(params)
    return jax.tree.map(lambda p, g: p - 0.1 * g, params, grads), loss


def infer(params, x, y):
    return params, layers(params, x) - y


def noisy(params, x, y):
    """Takes the number of the microbatch: which rows it has decides what is dropped."""

    def loss(params):
        with jax.named_scope("layer_0"):
            kept = jax.random.bernoulli(jax.random.key(0), 0.5, x.shape)
            dropped = jnp.where(kept, x, 0)
        return jnp.mean((layers(params, dropped) - y) ** 2)

    value, grads = jax.value_and_grad(loss)(params)
    return jax.tree.map(lambda p, g: p - 0.1 * g, params, grads), value


def tied(params, x, y):
    """The first layer's matrix is used by the last stage as well, and so is the batch."""

    def loss(params):
        with jax.named_scope("layer_0"):
            h = jnp.tanh(x @ params[0]["w"])
        for index, layer in enumerate(params[1:], 1):
            with jax.named_scope(f"layer_{index}"):
                h = jnp.tanh(h @ layer["w"] + layer["b"])
        return jnp.mean((h @ params[0]["w"].T + x - y) ** 2)

    value, grads = jax.value_and_grad(loss)(params)
    return jax.tree.map(lambda p, g: p - 0.1 * g, params, grads), value


MODELS = {"train": train, "infer": infer, "noisy": noisy, "tied": tied}
CASES = [
    *(
        ("train", schedule, microbatches, stages)
        for schedule, microbatches, stages in (
            ("gpipe", 4, 2),
            ("1f1b", 1, 2),
            ("1f1b", 8, 4),
            ("interleaved-1f1b", 4, 4),
            ("zb-h1", 8, 4),
            ("zb-v", 4, 4),
            ("dualpipe-v", 4, 4),
            ("v-min", 4, 4),
        )
    ),
    ("infer", "1f1b", 4, 2),
    ("noisy", "1f1b", 4, 2),
    ("noisy", "zb-h1", 4, 2),
    ("tied", "1f1b", 4, 2),
    ("tied", "gpipe", 2, 2),
]
CHUNKED = ("interleaved-1f1b", "zb-v", "dualpipe-v", "v-min")


def run_steps(step, params, x, y):
    """The statistics of the second step, whose state comes from the first; what they return is forgotten before."""
    for _ in range(2):
        params, rest = step(params, x, y)
        del rest
        gc.collect()
        stats = step.stats()
    return stats


@pytest.mark.one_in(3)
@pytest.mark.parametrize(("model", "schedule", "microbatches", "stages"), CASES)
def test_the_report_says_what_the_runtime_counts(model, schedule, microbatches, stages):
    islands = stages // 2 if schedule in CHUNKED else stages
    params = [{"w": matrix(8, 8), "b": matrix(8)} for _ in range(stages)]
    x, y = matrix(16, 8), matrix(16, 8)
    plan = atoll.Plan(stages=stages, microbatches=microbatches, schedule=schedule)
    topology = f"{islands} x cpu[1]"
    arguments = (MODELS[model], params, x, y)
    with atoll.compile(*arguments, topology=topology, plan=plan, batch_argnums=(1, 2), donate_argnums=0) as step:
        stats, report = run_steps(step, params, x, y), step.report()
        assert stats.bytes_per_link == {(one.source, one.target): one.bytes for one in report.links}
        assert stats.messages == sum(one.times for one in report.transfers)
        assert stats.peak_bytes == {one.name: one.peak_bytes for one in report.islands}
        for island in step.program.islands:
            lives = lives_of(step.program, island)
            assert sorted(life.number for life in lives) == list(range(len(island.buffers)))
            groups = [one for one in report.buffers if one.island == island.name]
            assert sum(one.count for one in groups) == len(lives)
            assert all(0 < one.alive <= one.count for one in groups)
            for code in range(len(step.program.codes)):
                runs = [one for one in island.instructions if isinstance(one, Run) and one.code == code]
                donations = {tuple(map(run.inputs.index, run.donated)) for run in runs}
                assert len(donations) <= 1, "an executable donates the same for all tasks that run it"


def with_momentum(loss):
    def step(state, x, y):
        params, mean = state
        value, grads = jax.value_and_grad(loss)(params, x, y)
        mean = jax.tree.map(lambda m, g: 0.9 * m + g, mean, grads)
        return (jax.tree.map(lambda p, m: p - 0.1 * m, params, mean), mean), value

    return step


def squares(params, x, y):
    return jnp.mean((layers(params, x) - y) ** 2)


def made_again(params, x, y):
    """Going back, each layer is computed once more."""
    for index, layer in enumerate(params):

        def one(x, layer, index=index):
            with jax.named_scope(f"layer_{index}"):
                return jnp.tanh(jnp.tanh(x @ layer["w"]) + layer["b"])

        x = jax.checkpoint(one)(x, layer)
    return jnp.mean((x - y) ** 2)


def centred(params, x, y):
    """Needs the mean of the batch: a loop over microbatches before it, and one after."""
    for index, layer in enumerate(params):
        with jax.named_scope(f"layer_{index}"):
            x = x @ layer["w"] + layer["b"]
            x = jnp.tanh(x - x.mean(0)) if index == 1 else jnp.tanh(x)
    return jnp.mean((x - y) ** 2)


def sharpness_aware(state, x, y):
    params, mean = state
    up = jax.tree.map(lambda p, g: p + 0.05 * g, params, jax.grad(squares)(params, x, y))
    return with_momentum(squares)((up, mean), x, y)


LOSSES = {"squares": squares, "made again": made_again, "centred": centred}
STEPS = {name: with_momentum(loss) for name, loss in LOSSES.items()} | {"sharpness aware": sharpness_aware}
PLANS = [
    ("squares", 4, "stages=4, microbatches=8, schedule=zb-h1"),
    ("squares", 4, "stages=2, microbatches=2, replicas=2, update=sharded, schedule=1f1b"),
    ("squares", 3, "stages=1, microbatches=2, replicas=3, segments=2, schedule=1f1b"),
    ("made again", 4, "stages=4, microbatches=4, schedule=1f1b"),
    ("made again", 4, "stages=2, microbatches=4, replicas=2, schedule=gpipe"),
    ("centred", 2, "stages=2, microbatches=4, schedule=1f1b, extra=100"),
    ("centred", 2, "stages=4, microbatches=4, schedule=zb-v, extra=100"),
    ("sharpness aware", 4, "stages=2, microbatches=2, replicas=2, schedule=1f1b"),
    ("squares", 4, 'stages=4, microbatches=4, schedule=1f1b, offload="state[1..1]"'),
    ("squares", 4, 'stages=2, microbatches=2, replicas=2, update=sharded, schedule=1f1b, offload="state[1..1]"'),
]


@pytest.mark.one_in(2)
@pytest.mark.parametrize("donates", [True, False], ids=["donated", "kept"])
@pytest.mark.parametrize(("name", "islands", "plan"), PLANS)
def test_the_most_bytes_of_every_plan_are_as_predicted(name, islands, plan, donates):
    """To the byte, on every island, in each of two steps one at a time; what they are given is nobody else's."""
    params = [{"w": matrix(8, 8), "b": matrix(8)} for _ in range(4)]
    arguments = ((params, jax.tree.map(numpy.zeros_like, params)), matrix(48, 8), matrix(48, 8))
    with atoll.compile(
        STEPS[name],
        *arguments,
        topology=f"{islands} x cpu[1]",
        plan=atoll.Plan.parse(plan),
        batch_argnums=(1, 2),
        donate_argnums=(0,) if donates else (),
    ) as step:
        predicted = [{one.name: one.peak_bytes for one in step.report().islands}]
        predicted += [{one.name: one.host_bytes for one in step.report().islands}]
        assert all(predicted[1].values()) == ("offload" in plan)
        for _ in range(2):
            step(*arguments)
            gc.collect()
            assert [step.stats().peak_bytes, step.stats().host_bytes] == predicted


def test_on_islands_of_several_devices_the_part_of_one_is_what_is_counted():
    spec = jax.sharding.PartitionSpec
    params = [{"w": matrix(8, 8), "b": matrix(8)} for _ in range(2)]
    x, y = matrix(16, 8), matrix(16, 8)
    with atoll.compile(
        train,
        params,
        x,
        y,
        topology="2 x cpu[data=2, model=2]",
        plan=atoll.Plan(stages=2, microbatches=4),
        batch_argnums=(1, 2),
        donate_argnums=0,
        in_shardings=([{"w": spec(None, "model"), "b": spec("model")}] * 2, spec("data"), spec("data")),
    ) as step:
        stats, report = run_steps(step, params, x, y), step.report()
    assert stats.peak_bytes == {one.name: one.peak_bytes for one in report.islands}
    assert stats.bytes_per_link == {(one.source, one.target): one.bytes for one in report.links}
    for one, island in zip(report.islands, step.program.islands, strict=True):
        assert one.input_bytes < sum(island.buffers[number].bytes for number in step.program.given[one.name])


def test_a_loop_before_the_loop_is_counted():
    """The mean over a masked batch takes its number of examples from a loop of its own."""

    def masked(params, x, mask):
        def loss(params):
            return jnp.sum(layers(params, x) * mask[:, None]) / jnp.sum(mask)

        value, grads = jax.value_and_grad(loss)(params)
        return jax.tree.map(lambda p, g: p - 0.1 * g, params, grads), value

    params = [{"w": matrix(8, 8), "b": matrix(8)} for _ in range(2)]
    x, mask = matrix(16, 8), numpy.ones(16, numpy.float32)
    plan = atoll.Plan(stages=2, microbatches=4, schedule="1f1b")
    with atoll.compile(
        masked, params, x, mask, topology="2 x cpu[1]", plan=plan, batch_argnums=(1, 2), donate_argnums=0
    ) as step:
        stats, report = run_steps(step, params, x, mask), step.report()
    assert any(part.startswith("4 x L0.F") for island in report.islands for part in island.tasks)
    assert stats.peak_bytes == {one.name: one.peak_bytes for one in report.islands}
    assert stats.bytes_per_link == {(one.source, one.target): one.bytes for one in report.links}
    assert report.pipeline.microbatches == 4
