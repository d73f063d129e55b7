"""Stages in segments: the answer of `jax.jit`, the bytes of stages in one piece, and an exchange that begins early."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import layered_loops  # noqa: F401 (registers models)
import numpy
import pytest
import zoo
from atoll.compiler.lowered import compile_module
from atoll.compiler.mlir.ir_text import parse_text
from atoll.compiler.schedules.segments import in_segments
from atoll.compiler.topology.topology import Topology
from atoll.runtime.program import Run, Send
from layered_checks import check_shares, check_steps, check_traffic, model_named, plan_of
from layered_checks import compiled as compiled_layers
from microbatched import (
    BY_XLA,
    check_cut_in_time,
    compiled,
    compiled_by_xla,  # noqa: F401 (a fixture)
    error_of,
    evaluated,  # noqa: F401 (a fixture)
)
from references import reference

import atoll

pytestmark = pytest.mark.own

MODELS = [
    ("mlp_adamw_clipped", 2, 3, "1f1b"),
    ("transformer", 2, 2, "zb-h1"),
    ("tied_embedding", 2, 3, "1f1b"),
    ("variational_autoencoder", 2, 2, "1f1b"),
    ("checkpointed", 1, 4, "gpipe"),
    ("mlp_inference", 2, 2, "forward-only"),
]
MORE_MODELS = [
    ("u_net", 2, 3, "zb-h2"),
    ("encoder_decoder", 3, 2, "1f1b"),
    ("mixture_of_experts", 2, 4, "1f1b"),
    ("transformer", 2, 2, "dualpipe-v"),
    ("transformer", 2, 2, "interleaved-1f1b(2)"),
    ("custom_vjp", 3, 3, "zb-h1"),
    ("flax_linen", 2, 2, "v-half"),
    ("lstm", 2, 2, "1f1b"),
]


def pytest_generate_tests(metafunc):
    if "kind" in metafunc.fixturenames:
        chosen = [*MODELS, *(MORE_MODELS if metafunc.config.getoption("full") else [])]
        metafunc.parametrize(("name", "count", "segments", "kind"), chosen)


@pytest.mark.one_in(2)
def test_same_answer_as_jit(name, count, segments, kind):
    case = zoo.CASES[name]()
    whole = atoll.Plan(microbatches=4, schedule=kind)
    with compiled(case, whole, f"{count} x cpu[1]") as step:
        step(*zoo.arguments_of(case))
        sent, stages = step.stats().bytes_per_link, step.report().stages
    with compiled(case, replace(whole, segments=segments), f"{count} x cpu[1]") as step:
        results, expected = step(*zoo.arguments_of(case)), reference(case.fn, *case.args)
        assert error_of(zoo.leaves(results), list(zoo.leaves(expected))) < 1e-5
        assert step.stats().bytes_per_link == sent
        assert step.report().stages == stages * segments
        check_cut_in_time(step, case, in_segments(atoll.schedule(kind, islands=count, microbatches=4), segments))


@pytest.mark.one_in(2)
@pytest.mark.parametrize("name", ["decoder_recomputed", "decoder_untied"])
def test_layer_loops_are_cut_into_segments(name):
    """Two layers an island, each a segment: parts and bytes are those of stages in one piece."""
    model = model_named(name)
    plan = replace(plan_of(model, 2, 2), segments=2, schedule="1f1b")
    with compiled_layers(model, 2, 2, plan=plan) as step:
        check_steps(step, model, steps=2)
        check_shares(step, model, {"layers": (2, 2)})
        check_traffic(step, model, 2, 2)
        tasks = [task.partition("@")[2] for task in step.stats().order["island0"] if task.startswith("B")]
        assert tasks == ["1", "0", "1", "0"]


# A sweep more over the segments than over stages in one piece would leave no schedule for the plan.


def penalised_and_returned(params, x):
    """The activations of every layer are penalised and returned, so that all layers meet in the backward pass."""

    def loss_fn(params):
        last, all_of = jax.lax.scan(jax.checkpoint(lambda h, w: (h + jnp.tanh(h @ w), h)), x, params)
        return jnp.mean(last**2) + 1e-2 * jnp.mean(all_of**2), all_of

    (loss, activations), gradients = jax.value_and_grad(loss_fn, has_aux=True)(params)
    return params - 0.1 * gradients, loss, jnp.swapaxes(activations, 0, 1)


def gradient_penalty(params, x):
    """The gradient of a gradient, which on one island is one backward task."""

    def net(params, x):
        return jax.lax.scan(lambda h, w: (jnp.tanh(h @ w), None), x, params)[0]

    def loss_fn(params):
        by_x = jax.grad(lambda x: jnp.sum(net(params, x) ** 2))(x)
        return jnp.mean(net(params, x) ** 2) + 0.1 * jnp.mean(by_x**2)

    loss, gradient = jax.value_and_grad(loss_fn)(params)
    return params - 0.1 * gradient, loss


@pytest.mark.one_in(3)
@pytest.mark.parametrize(
    ("fn", "stages", "segments"),
    [
        (penalised_and_returned, 2, 2),
        (penalised_and_returned, 4, 1),
        (penalised_and_returned, 1, 4),
        (gradient_penalty, 1, 4),
    ],
)
def test_segments_need_no_more_sweeps_than_stages_in_one_piece(fn, stages, segments):
    args = zoo.normal(0, 4, 16, 16, scale=0.3), X
    plan = atoll.Plan(stages=stages, segments=segments, microbatches=2, schedule="1f1b")
    with atoll.compile(fn, *args, topology=f"{stages} x cpu[1]", plan=plan, batch_argnums=1) as step:
        assert error_of(zoo.leaves(step(*args)), list(zoo.leaves(reference(fn, *args)))) < 1e-5
        assert step.schedule.stages == stages * segments


def test_sweeps_that_a_schedule_has_not_are_refused_at_the_call():
    args = zoo.normal(0, 4, 16, 16, scale=0.3), X
    plan = atoll.Plan(stages=2, microbatches=2, schedule="1f1b")
    with pytest.raises(atoll.PlanError, match=r"test_segments\.py:\d+: .* the function does so 4 times; leave"):
        atoll.compile(gradient_penalty, *args, topology="2 x cpu[1]", plan=plan, batch_argnums=1)


# Replicas.


def train_step(params, x):
    def loss_fn(params):
        h = x
        for index, layer in enumerate(params):
            with jax.named_scope(f"layer_{index}"):
                h = jnp.tanh(h @ layer)
        return jnp.mean(h**2)

    loss, gradients = jax.value_and_grad(loss_fn)(params)
    return [p - 0.1 * g for p, g in zip(params, gradients, strict=True)], loss


PARAMS = [numpy.asarray(zoo.normal(number, 16, 16, scale=0.3)) for number in range(8)]
X = numpy.asarray(zoo.normal(9, 8, 16))


def replicated(link="1 GB/s, 1 ms", **fields):
    topology = f"island island0 : cpu[1]\nisland island1 : cpu[1]\nlink island0 <-> island1 : {link}"
    plan = atoll.Plan(stages=1, microbatches=2, replicas=2, schedule="1f1b", **fields)
    return atoll.compile(train_step, PARAMS, X, topology=topology, plan=plan, batch_argnums=1)


def test_the_sums_of_a_segment_leave_while_others_run():
    """On each replica, between two backward tasks of the last microbatch."""
    with replicated(segments=4) as step:
        assert error_of(zoo.leaves(step(PARAMS, X)), list(zoo.leaves(reference(train_step, PARAMS, X)))) < 1e-5
        for island in step.program.islands:
            sent, between = 0, []
            for one in island.instructions:
                if isinstance(one, Send):
                    sent += island.buffers[one.buffer].bytes
                elif isinstance(one, Run) and one.task.startswith("B1@"):
                    between.append((one.task, sent))
            a_quarter = 2 * 4 * 16 * 16
            # The loss is there from the forward pass on; the last quarter leaves behind the loop.
            assert between == [
                ("B1@3", 4),
                ("B1@2", 4 + a_quarter),
                ("B1@1", 4 + 2 * a_quarter),
                ("B1@0", 4 + 3 * a_quarter),
            ]
            assert sent == 4 + 4 * a_quarter


@pytest.mark.parametrize(
    ("link", "segments"),
    [
        ("1 GB/s, 1 ms", "auto"),  # 10 MB are worth a message
        ("0.1 MB/s, 2 ms", 4),  # 2,000 bytes are, and there are 8,196
        ("1 kB/s, 1 ms", 8),  # each weight is worth several, but crosses whole
    ],
)
def test_auto_is_what_the_sums_are_worth_messages(link, segments):
    with replicated(link) as step:
        assert step.plan.segments == segments
        assert step.report().stages == (1 if segments == "auto" else segments)
        assert error_of(zoo.leaves(step(PARAMS, X)), list(zoo.leaves(reference(train_step, PARAMS, X)))) < 1e-5


def test_the_prediction_knows_what_overlaps():
    """An exchange of all sums outlasts the loop; of four segments the last one alone does."""

    def predicted(segments):
        with replicated("1 kB/s, 0 s", segments=segments) as step:
            one = step.report().pipeline
            slow = one.simulation(step.topology, slower=1e9)  # tasks take longer than what is sent
            ((begin, _),) = slow.updates
            return sum(exchange.seconds for exchange in one.exchanges), begin - max(end for *_, end in slow.tasks)

    assert predicted(1) == (pytest.approx(8.196), pytest.approx(8.192, rel=1e-3))
    assert predicted(4) == (pytest.approx(8.196), pytest.approx(2.048, rel=1e-3))


@pytest.mark.one_in(3)
@BY_XLA
@pytest.mark.parametrize("phase", ["staged", "placed", "scheduled"])
def test_a_dump_is_resumed(phase):
    with replicated("0.1 MB/s, 2 ms") as step:
        text, schedule, expected = step.ir(phase), step.schedule, list(zoo.leaves(step(PARAMS, X)))
    topology = Topology.parse(step.program.topology)
    with compile_module(parse_text(text), topology) as resumed:
        assert resumed.schedule == schedule
        assert [leaf.tobytes() for leaf in zoo.leaves(resumed(*PARAMS, X))] == [leaf.tobytes() for leaf in expected]


def test_a_schedule_of_the_users_runs_in_segments():
    mine = atoll.schedule("1f1b", islands=2, microbatches=2)
    plan = atoll.Plan(schedule=replace(mine, name="mine"), segments=2)
    with atoll.compile(train_step, PARAMS, X, topology="2 x cpu[1]", plan=plan, batch_argnums=1) as step:
        step(PARAMS, X)
        assert step.schedule.rows == in_segments(mine, 2).rows


def test_loops_over_one_stack_on_several_stages_are_not_cut():
    """As in a step of two players, one of which judges what is real and what the other makes."""

    def net(p, x):
        with jax.named_scope("net"):
            return jax.lax.scan(lambda h, w: (h + jnp.tanh(h @ w), None), x, p)[0]

    def step(maker, judge, x, y):
        made = lambda maker: jnp.mean(net(judge, net(maker, x)) ** 2)  # noqa: E731
        judged = lambda judge: jnp.mean((net(judge, y) - 1) ** 2) + jnp.mean(net(judge, net(maker, x)) ** 2)  # noqa: E731
        return jax.value_and_grad(made)(maker), jax.value_and_grad(judged)(judge)

    stacks = [zoo.normal(number, 4, 8, 8, scale=0.3) for number in (1, 2)]
    batch = [zoo.normal(number, 8, 8) for number in (3, 4)]
    plan = atoll.Plan(stages=2, microbatches=2, schedule="1f1b", segments=2)
    with atoll.compile(step, *stacks, *batch, topology="2 x cpu[1]", plan=plan, batch_argnums=(2, 3)) as compiled:
        expected = list(zoo.leaves(reference(step, *stacks, *batch)))
        assert error_of(zoo.leaves(compiled(*stacks, *batch)), expected) < 1e-5
