"""Random work of devices, one `shard_map` after another: it is folded and right, or refused."""

import random

import jax
import jax.numpy as jnp
import pytest
from accepted import normal
from accepted_devices import MESH, B, D
from atoll.compiler.errors import CompileError
from jax import lax
from jax.sharding import PartitionSpec as P
from timed_harness import Program, computed, differences, pair_of

W = normal(2, D, D, scale=0.5)
SPECS = P("data"), P("data", "model"), P(("data", "model")), P(None, "model"), P()

# What a device may do with its part of the examples, and with its part of a weight.
STEPS = {
    "tanh": lambda x, w: jnp.tanh(x),
    "weights": lambda x, w: x @ w[:1, : x.shape[1]].T if w.shape[1] >= x.shape[1] else x * w[0, 0],
    "sum over model": lambda x, w: lax.psum(x, "model"),
    "sum over data": lambda x, w: lax.psum(x, "data"),
    "greatest": lambda x, w: lax.pmax(x, "data"),
    "place": lambda x, w: x * (1.0 + lax.axis_index("data") + 2 * lax.axis_index("model")),
    "turned": lambda x, w: lax.ppermute(x, "data", [(0, 1), (1, 0)]),
    "shifted": lambda x, w: lax.ppermute(x, "model", [(0, 1)]),
    "gathered": lambda x, w: lax.all_gather(x, "data", tiled=True)[: len(x)],
    "all of model": lambda x, w: lax.all_gather(x, "model", axis=1, tiled=True),
    "scattered": lambda x, w: x if len(x) % 2 else lax.psum_scatter(x, "data", tiled=True),
    "exchanged": lambda x, w: x if len(x) % 2 else lax.all_to_all(x, "model", 0, 0, tiled=True),
    "to columns": lambda x, w: x if len(x) % 2 else lax.all_to_all(x, "data", 0, 1, tiled=True),
    "counted": lambda x, w: x + jnp.arange(len(x))[:, None],
    "mean": lambda x, w: x + lax.pmean(x.mean(), ("data", "model")),
    "own mean": lambda x, w: x - 0.1 * x.mean(1, keepdims=True),
    "sum": lambda x, w: jnp.concatenate([x.sum(0, keepdims=True)] * len(x)) if len(x) < 3 else x,
    "root of a sum": lambda x, w: w[:1, :1] * jnp.sqrt(lax.psum((x**2).sum(), "data")),
}


# How the devices of a mesh are divided among replicas, and how many microbatches each has.
OVER_REPLICAS = [
    {"replicas": 2, "islands": "2 x cpu[data=2, model=2]"},
    {"replicas": 4, "islands": "4 x cpu[model=2]"},
    {"replicas": 2, "islands": "2 x cpu[data=2, model=2]", "microbatches": 2},
    {"replicas": 4, "islands": "4 x cpu[data=1, model=2]", "microbatches": 2},
]


def program_of(seed, mesh=MESH, rows=1, **plan):
    x = normal(1, B * rows, D)
    chosen = random.Random(seed)
    parts = [(chosen.choice(SPECS[:3]), chosen.choices(list(STEPS), k=chosen.randint(1, 4))) for _ in range(2)]
    weight, is_gradient = chosen.choice(SPECS[3:]), chosen.random() < 0.4

    def fn(w, x):
        for spec, names in parts:

            def part(x, w, names=names):
                for name in names:
                    x = STEPS[name](x, w)
                return x

            x = jax.shard_map(part, mesh=mesh, in_specs=(spec, weight), out_specs=spec, check_vma=False)(x, w)
        return x

    def loss(w, x):
        return jnp.sum(fn(w, x) ** 2)

    text = f"seed {seed}: {parts}, weight {weight}{', its gradient' if is_gradient else ''}"
    plan = {"microbatches": 2, "text": f"{text}, {plan}", **plan}
    return Program(jax.value_and_grad(loss) if is_gradient else fn, (W, x), (1,), **plan)


def outcome(program):
    """Whether a program is refused, and if not what is wrong with it."""
    with jax.enable_x64(True):
        try:
            pair = pair_of(program)
        except CompileError as error:
            text = str(error)
            assert "internal error" not in text, (program.text, text)
            assert ".py:" in text, (program.text, text)
            return "traced" if "cannot be traced" in text else "refused", ""
        both = computed(pair)
    assert both is not None, program.text
    wrong = differences(pair, *both)
    return "right", "\n".join([program.text, *wrong, pair.module]) if wrong else ""


@pytest.mark.own
def test_right_or_refused(request):
    first, is_full = map(request.config.getoption, ("--first-seed", "--full"))
    outcomes = [outcome(program_of(seed)) for seed in range(first, first + (1000 if is_full else 24))]
    assert not next((wrong for _, wrong in outcomes if wrong), "")
    assert sum(kind == "right" for kind, _ in outcomes) > len(outcomes) // 4


@pytest.mark.own
def test_right_or_refused_over_the_devices_of_all_replicas(request):
    """A mesh of more devices than an island has: each replica has some of them."""
    first, is_full = map(request.config.getoption, ("--first-seed", "--full"))
    mesh = jax.sharding.AbstractMesh((4, 2), ("data", "model"), axis_types=MESH.axis_types)
    found = []
    for seed in range(first, first + (1000 if is_full else 24)):
        plan = {"microbatches": 1, **OVER_REPLICAS[seed % len(OVER_REPLICAS)]}
        found.append(outcome(program_of(seed, mesh, rows=4, **plan)))
    assert not next((wrong for _, wrong in found if wrong), "")
    assert sum(kind == "right" for kind, _ in found) > len(found) // 24
