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
        assert stats.peak_bytes == {one.name: one.array_peak_bytes for one in report.islands}
        assert {one.name: one.peak_bytes for one in report.islands} == stats.peak_bytes
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


def test_on_islands_of_several_devices_whole_arrays_are_what_is_counted():
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
    assert stats.peak_bytes == {one.name: one.array_peak_bytes for one in report.islands}
    assert stats.bytes_per_link == {(one.source, one.target): one.bytes for one in report.links}
    for one in report.islands:
        assert one.array_peak_bytes / 4 <= one.peak_bytes < one.array_peak_bytes


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
    assert stats.peak_bytes == {one.name: one.array_peak_bytes for one in report.islands}
    assert stats.bytes_per_link == {(one.source, one.target): one.bytes for one in report.links}
    assert report.pipeline.microbatches == 4
