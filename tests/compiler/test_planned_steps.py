"""What `atoll plan` says of a step is what the report of that plan says, and no plan by hand is said to take less."""

import jax
import jax.numpy as jnp
import pytest
from atoll.compiler.commands.plan import JobTarget
from atoll.compiler.errors import AtollError
from atoll.compiler.export.job import Job
from atoll.compiler.plan.plan import Plan
from atoll.compiler.planner.known import known_of
from atoll.compiler.planner.plans import best_plans
from atoll.compiler.planner.proposals import proposals
from atoll.compiler.planner.ranking import PROGRAM
from atoll.compiler.report.step_parts import parts_of_step
from atoll.compiler.topology.topology import topology

pytestmark = pytest.mark.own

BY_HAND = (
    "stages=1, microbatches=1, replicas=1",
    "stages=2, microbatches=1, replicas=1",
    "stages=2, microbatches=2, schedule=gpipe",
    "stages=2, microbatches=4, schedule=1f1b",
    "stages=2, microbatches=8, schedule=zb-h1",
    "stages=1, microbatches=1, schedule=1f1b, replicas=2",
    "stages=1, microbatches=4, schedule=1f1b, replicas=2",
)
# Islands that share cores, whose memory is slow; that have their own, with fast links; and with slow ones.
ISLANDS = (
    "2 x cpu[1]; link * <-> * : 5 GB/s, 50 us; rates cpu : 127 Gop/s, 3400 MB/s, 1 at once",
    "2 x cpu[1]; link * <-> * : 100 GB/s, 1 us",
    "2 x cpu[1]; link * <-> * : 100 MB/s, 5 ms",
)


def dense(layer, x):
    return jnp.tanh(x @ layer)


def convolved(layer, x):
    strides = (2, 2) if layer.shape[3] > layer.shape[2] else (1, 1)
    return jax.nn.relu(jax.lax.conv_general_dilated(x, layer, strides, "SAME", dimension_numbers=NUMBERS))


NUMBERS = ("NHWC", "HWIO", "NHWC")


def trained(layer, shapes, examples):
    """Of layers whose gradients are what the update takes."""

    def step(params, x):
        def loss(params):
            h = x
            for index, weights in enumerate(params):
                with jax.named_scope(f"layer_{index}"):
                    h = layer(weights, h)
            return jnp.mean(h**2)

        return jax.tree.map(lambda p, g: p - 0.1 * g, params, jax.grad(loss)(params))

    params = [jax.ShapeDtypeStruct(shape, "float32") for shape in shapes]
    return Job(step, params, jax.ShapeDtypeStruct((32, *examples), "float32"), batch_argnums=1)


# Where least crosses depends on the size of microbatches: of the head wherever logits are larger than what they are of,
# and of the convolutions where an image of one example is smaller than a kernel.
JOBS = {
    "costly head": trained(dense, [(64, 64)] * 4 + [(64, 1024)], (64,)),
    "convolutions": trained(convolved, [(3, 3, 4, 4), (3, 3, 4, 8), (3, 3, 8, 8), (3, 3, 8, 16)], (8, 8, 4)),
}


def step_of(target, plan):
    report = target.lowered(plan).report()
    return parts_of_step(report.pipeline, report.whole_step, target.topology).step


@pytest.mark.parametrize(
    ("name", "islands"), [*(("costly head", islands) for islands in ISLANDS), ("convolutions", ISLANDS[0])]
)
def test_the_best_plan_takes_what_its_report_says_and_none_by_hand_takes_less(name, islands):
    target = JobTarget(JOBS[name], topology(islands))
    found = best_plans(target)
    first = found.plans[0]
    for row in found.plans:
        if row.source == PROGRAM:
            assert row.step == step_of(target, Plan.parse(row.plan))
    assert first.source == PROGRAM
    tried = 0
    for text in BY_HAND:
        try:
            by_hand = step_of(target, Plan.parse(text))
        except AtollError:  # no such program: this cut leaves an island nothing to do
            continue
        tried += 1
        assert first.step <= 1.03 * by_hand, text
        assert found.bound <= by_hand, text
    assert tried >= len(BY_HAND) - 1


@pytest.mark.parametrize("name", JOBS)
def test_layers_cost_what_tasks_do(name):
    """What leads to programs is near what they are predicted to take: whole, in microbatches, and by replicas."""
    target = JobTarget(JOBS[name], topology(ISLANDS[0]))
    known = known_of(target, lambda _: None)
    near = {}
    for one in proposals(known.model, known.batch, microbatches_allowed=True).ranked:
        shape = len(one.candidate.cut.begins) == 1, one.parts, one.replicas
        if one.candidate.kind.name == "1f1b" and one.parts <= 4 and shape not in near:
            near[shape] = one.seconds / step_of(target, one.plans(known.model)[0])
    assert len(near) >= 2
    assert (True, 1, 1) in near
    assert all(0.85 < ratio < 1.15 for ratio in near.values()), near
