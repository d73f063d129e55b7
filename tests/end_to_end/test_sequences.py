"""Steps whose examples need something of the whole batch: several loops over microbatches, with the answer of
`jax.jit`, and no more work, memory and messages than that takes."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy
import pytest
import zoo
from atoll.compiler.task_name import TaskName
from microbatched import BY_XLA, compiled_by_xla, double_precision, error_of, evaluated  # noqa: F401 (fixtures)

import atoll

pytestmark = pytest.mark.timeout(120)

B, D = 16, 8

PLANS = {
    "halves": ("2 x cpu[1]", atoll.Plan(microbatches=4)),
    "zero_bubble": ("4 x cpu[1]", atoll.Plan(microbatches=4, schedule="zb-h1")),
    "replicas": ("2 x cpu[1]", atoll.Plan(replicas=2)),
    "both": ("4 x cpu[1]", atoll.Plan(microbatches=2, replicas=2, extra=0)),
    "again": ("2 x cpu[1]", atoll.Plan(microbatches=8, extra=1000)),
}


def normal(seed, *shape):
    return jnp.asarray(numpy.random.default_rng(seed).normal(size=shape) / 2)


def weights(layers, seed=0):
    return [normal(seed + layer, D, D) for layer in range(layers)]


def tower(params, h):
    for number, w in enumerate(params):
        with jax.named_scope(f"layer{number}"):
            h = jax.nn.gelu(h @ w)
    return h


def trained(loss_fn, params, *examples):
    """A step of gradient descent, with its arguments."""

    def step(params, *examples):
        loss, gradient = jax.value_and_grad(loss_fn)(params, *examples)
        return jax.tree.map(lambda p, g: p - 0.1 * g, params, gradient), loss

    return step, (params, *examples)


def batch_statistics(layers=3):
    def loss_fn(params, x, y):
        h = x
        for number, w in enumerate(params):
            with jax.named_scope(f"layer{number}"):
                z = h @ w
                mean = z.mean(0)
                h = jax.nn.gelu((z - mean) * jax.lax.rsqrt(((z - mean) ** 2).mean(0) + 1e-5))
        return ((h - y) ** 2).mean()

    return trained(loss_fn, weights(layers), normal(8, B, D), normal(9, B, D))


def contrast(layers=3, examples=B):
    """CLIP: every picture with every text."""

    def loss_fn(params, x, y):
        a, b = tower(params["picture"], x), tower(params["text"], y)
        scores = a @ b.T
        return -jnp.diagonal(jax.nn.log_softmax(scores) + jax.nn.log_softmax(scores.T)).mean()

    params = {"picture": weights(layers), "text": weights(layers, 4)}
    return trained(loss_fn, params, normal(8, examples, D), normal(9, examples, D))


def sharpness():
    """SAM: the gradient where a step up the gradient leads."""

    def loss_fn(params, x, y):
        return ((tower(params, x) - y) ** 2).mean()

    def step(params, x, y):
        loss, up = jax.value_and_grad(loss_fn)(params, x, y)
        norm = jnp.sqrt(sum(jnp.sum(g**2) for g in up))
        gradient = jax.grad(loss_fn)([p + 0.1 * g / norm for p, g in zip(params, up, strict=True)], x, y)
        return [p - 0.1 * g for p, g in zip(params, gradient, strict=True)], loss

    return step, (weights(4), normal(8, B, D), normal(9, B, D))


def experts_with_a_capacity(experts=4, capacity=6):
    def loss_fn(params, x, y):
        h = jax.nn.gelu(x @ params["into"])
        odds = jax.nn.softmax(h @ params["router"])
        chosen = jax.nn.one_hot(odds.argmax(-1), experts)
        place = (jnp.cumsum(chosen, 0) - 1) * chosen
        sent = ((place < capacity) * chosen)[:, :, None] * jax.nn.one_hot(place.sum(-1).astype(int), capacity)[:, None]
        inside = jax.nn.gelu(jnp.einsum("tec,td,edf->ecf", sent, h, params["experts"]))
        out = h + jnp.einsum("tec,ecd->td", sent * (odds * chosen).sum(-1)[:, None, None], inside)
        balance = experts * jnp.sum(chosen.mean(0) * odds.mean(0))
        return ((out @ params["out"] - y) ** 2).mean() + 0.01 * balance

    params = {"into": normal(0, D, D), "router": normal(1, D, experts)}
    params |= {"experts": normal(2, experts, D, D), "out": normal(3, D, D)}
    return trained(loss_fn, params, normal(8, B, D), normal(9, B, D))


def watched():
    """A loss without secrets, whose deviation and order are logged."""

    def loss_fn(params, x, y):
        out = tower(params, x)
        losses = ((out - y) ** 2).mean(-1)
        return losses.mean(), (out.std(), jnp.sort(losses), jnp.argmax(losses))

    def step(params, x, y):
        told, gradient = jax.value_and_grad(loss_fn, has_aux=True)(params, x, y)
        return [p - 0.1 * g for p, g in zip(params, gradient, strict=True)], told

    return step, (weights(3), normal(8, B, D), normal(9, B, D))


STEPS = (batch_statistics, contrast, sharpness, experts_with_a_capacity, watched)
REFUSED = {(step.__name__, "both") for step in (batch_statistics, contrast, experts_with_a_capacity, watched)}


@functools.cache
def made(name):
    step, args = globals()[name]()
    return step, args, list(zoo.leaves(jax.jit(step)(*args)))


def batch_of(args):
    return tuple(range(1, len(args)))


def on_islands(do, step, args, topology, plan):
    return do(step, *args, topology=topology, plan=plan, batch_argnums=batch_of(args))


@pytest.mark.one_in(3)
@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("name", [step.__name__ for step in STEPS])
def test_same_answer_as_jit(name, plan):
    step, args, expected = made(name)
    if (name, plan) in REFUSED:
        with pytest.raises(
            atoll.CompileError, match=r"% of the model's work would be done again( and .*)?, or .* kept"
        ):
            on_islands(atoll.lower, step, args, *PLANS[plan])
        return
    with on_islands(atoll.compile, step, args, *PLANS[plan]) as compiled:
        found = [list(zoo.leaves(compiled(*args))) for _ in range(2)]
    assert error_of(found[0], expected) < 1e-12
    assert [one.tobytes() for one in found[0]] == [one.tobytes() for one in found[1]]


@pytest.mark.one_in(2)
@BY_XLA
@pytest.mark.parametrize("plan", [atoll.Plan(microbatches=4), atoll.Plan(microbatches=4, extra=1000)], ids=str)
def test_same_answer_by_xla(plan):
    step, args, expected = made("contrast")
    with on_islands(atoll.compile, step, args, "2 x cpu[1]", plan) as compiled:
        assert error_of(list(zoo.leaves(compiled(*args))), expected) < 1e-12


def lowered(step_and_args, topology, plan):
    return on_islands(atoll.lower, *step_and_args, topology, plan)


def products_of(lowered):
    return str(lowered.ir("timed")).count("stablehlo.dot_general")


@pytest.mark.parametrize("layers", [2, 8])
def test_loops_and_products_grow_with_the_layers(layers):
    found = lowered(batch_statistics(layers), "2 x cpu[1]", atoll.Plan(microbatches=4))
    # Forward once, and backward for the weights and, but for the first layer, for what it takes.
    assert products_of(found) == 3 * layers - 1
    loops = str(found.ir("timed")).count("mpmd.for")
    assert loops <= 4 * layers + 1  # a mean and a variance, and the same on the way back


def test_what_is_kept_is_that_of_the_products():
    """Of each layer the result of its product, in every microbatch; what is made of it is made again."""
    layers = 8
    report = str(lowered(batch_statistics(layers), "2 x cpu[1]", atoll.Plan(microbatches=4)).report())
    (kept,) = re.findall(r"over the stages \d+ times: ([0-9.]+) KiB of the batch are kept", report)
    assert float(kept) * 1024 <= 2 * layers * B * D * 8 * 1.1  # and one gradient of each layer on the way back


def test_a_contrastive_loss_needs_little_memory_if_towers_are_gone_through_again():
    """Gradient caching, without being asked for: one more way forward, and the memory of a microbatch."""
    many, one = (
        lowered(contrast(24, 64), "2 x cpu[1]", atoll.Plan(microbatches=count, schedule="1f1b")).report()
        for count in (8, 1)
    )
    assert all(few.peak_bytes <= all_.peak_bytes / 3 for few, all_ in zip(many.islands, one.islands, strict=True))
    (again,) = re.findall(r"(\d+)% of the model's work are done again", str(many))
    assert int(again) <= 36  # a third, and what similarities take of parts that are there whole


@pytest.mark.parametrize("name", ["sharpness", "batch_statistics"])
def test_replicas_exchange_each_sum_once(name):
    step, args, _ = made(name)
    program = on_islands(atoll.lower, step, args, "2 x cpu[1]", atoll.Plan(replicas=2))
    report = program.report()
    assert products_of(program) == {"sharpness": 2 * (3 * 4 - 1), "batch_statistics": 3 * 3 - 1}[name]
    sums = sum(exchange.sums for exchange in report.exchanges)
    assert sums == len(re.findall(r"%arg\d+: tensor", "".join(loops_of(program)))) - parts_of(program)


def loops_of(program):
    """The first line of each loop over microbatches."""
    return re.findall(r"mpmd\.for .*", str(program.ir("timed")))


def parts_of(program):
    """How many results of loops are parts of microbatches."""
    kept = re.findall(r"atoll\.parts = array<i64: ([0-9, ]+)>", "".join(loops_of(program)))
    return sum(len(numbers.split(",")) for numbers in kept)


def test_every_loop_is_a_pipeline():
    """The first way of SAM goes over the stages as the second does, in the schedule that the plan asks for."""
    step, args, _ = made("sharpness")
    plan = atoll.Plan(microbatches=4, schedule="gpipe")
    with on_islands(atoll.compile, step, args, "2 x cpu[1]", plan) as compiled:
        compiled(*args)
        order = [TaskName.parse(task) for task in compiled.stats().order["island0"]]
    ways = [
        [task._replace(loop=None) for task in order if task.kind in "FB" and task.loop == loop] for loop in (0, None)
    ]
    assert ways[0] == ways[1]
    assert len(ways[0]) == 8
