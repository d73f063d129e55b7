"""Plans of many kinds, with microbatches: free placements, shardings, stage texts, schedules that the user wrote."""

import functools
import itertools
import logging
import re
import sys
from collections import Counter
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
import zoo
from atoll.compiler.commands.cli import run_here
from atoll.compiler.errors import PlanError
from atoll.compiler.pipeline.pipeline import PHASES
from atoll.examples import decoder
from filled import decoder_params
from jax.sharding import PartitionSpec
from microbatched import (
    bits_of,
    check_cut_in_time,
    compiled,
    error_of,
    evaluated,  # noqa: F401 (a fixture)
    task_named,
)
from references import reference

import atoll

pytestmark = pytest.mark.own

TWO = "layer_[0..1] | layer_[2..3]"


def checked(case, plan, topology, tolerance=1e-5):
    """A step of the case's own arguments, the same as `jax.jit` computes."""
    expected = list(zoo.leaves(reference(case.fn, *case.args)))
    step = compiled(case, plan, topology)
    assert error_of(zoo.leaves(step(*zoo.arguments_of(case))), expected) < tolerance
    return step


def orders(step, kinds="FBW"):
    """For each island the tasks of some kinds, as they ran."""
    return {name: [task for task in order if task[0] in kinds] for name, order in step.stats().order.items()}


# Gradients that a step accumulates by itself.


def of_a_decoder(accumulates):
    """A train step of a small decoder, with or without a loop over pieces of the batch."""
    config = decoder.Config(vocabulary=32, width=16, heads=2, layers=4, length=8)
    params = decoder_params(config)
    tokens = zoo.words(config.vocabulary, 8, config.length + 1)

    def loss(params, tokens):
        scores = jax.nn.log_softmax(decoder.logits(params, tokens[:, :-1], config))
        return -jnp.mean(jnp.take_along_axis(scores, tokens[:, 1:, None], -1))

    def piece(params, total, tokens):
        return jax.tree.map(jnp.add, total, jax.value_and_grad(loss)(params, tokens)), None

    def step(params, tokens):
        if accumulates:
            nothing = jnp.zeros(()), jax.tree.map(jnp.zeros_like, params)
            total, _ = jax.lax.scan(functools.partial(piece, params), nothing, tokens.reshape(4, 2, -1))
            value, gradients = jax.tree.map(lambda one: one / 4, total)
        else:
            value, gradients = jax.value_and_grad(loss)(params, tokens)
        return jax.tree.map(lambda param, gradient: param - 0.1 * gradient, params, gradients), value

    return step, params, tokens


def test_own_accumulation_is_a_plan_with_as_many_microbatches():
    seen = []
    for accumulates in (True, False):
        fn, *args = of_a_decoder(accumulates)
        # Where the plan leaves it open, there are as many microbatches as the step takes pieces.
        microbatches = "auto" if accumulates else 4
        plan = atoll.Plan(stages="embed, layer_[0..1] | layer_[2..3], head", microbatches=microbatches)
        with atoll.compile(fn, *args, topology="2 x cpu[1]", batch_argnums=1, plan=plan) as step:
            assert error_of(zoo.leaves(step(*args)), list(zoo.leaves(reference(fn, *args)))) < 1e-5
            stats = step.stats()
            seen.append((stats.tasks, stats.order, stats.messages, stats.bytes_per_link))
            assert accumulates == ("pieces of the batch: 4" in str(step.report()))
    assert seen[0] == seen[1]
    assert seen[0][0]["F"] == 8


# Placement.


def test_a_free_placement():
    case = zoo.CASES["mlp_sgd"]()
    placement = {"layer_0": "island1", "layer_1": "island0", "layer_2": "island1", "layer_3": "island2"}
    with checked(case, atoll.Plan(microbatches=4, placement=placement), "3 x cpu[1]") as step:
        counted = Counter(task for order in orders(step, "FB").values() for task in order)
        assert set(counted.values()) == {1}
        microbatches = Counter(task_named(task, 4).microbatch for task in counted)
        assert len(microbatches) == 4
        assert len(set(microbatches.values())) == 1
        weights = {one.path: one.every_place[0][0] for one in step.program.inputs if one.path.startswith("state[0][")}
        assert weights["state[0][0]['w']"] == weights["state[0][2]['w']"] == "island1"
        assert weights["state[0][1]['w']"] == "island0"


def test_a_free_placement_of_what_is_no_pipeline():
    def fn(params, x, y):
        def loss(params):
            with jax.named_scope("left"):
                one = jnp.tanh(x @ params["l"])
            with jax.named_scope("right"):
                two = jnp.tanh(y @ params["r"])
            with jax.named_scope("join"):
                return jnp.mean((one - two) ** 2)

        return jax.value_and_grad(loss)(params)

    params = {"l": zoo.normal(1, 4, 6), "r": zoo.normal(2, 3, 6)}
    case = zoo.Case(fn, (params, zoo.normal(3, 8, 4), zoo.normal(4, 8, 3)), batch=(1, 2))
    placement = {"left": "island0", "right": "island1", "join": "island2"}
    with checked(case, atoll.Plan(microbatches=4, placement=placement), "3 x cpu[1]") as step:
        assert all(orders(step, "FB").values())
        places = {one.path: {name for name, _ in one.every_place} for one in step.program.inputs}
        assert (places["x"], places["y"]) == ({"island0"}, {"island1"})


@pytest.mark.one_in(3)
@pytest.mark.parametrize("stages", [TWO, "layer_0 | layer_1 | layer_2 | layer_3", "layer_0, layer_1 | layer_[2..3]"])
@pytest.mark.parametrize("kind", ["1f1b", "zb-h1"])
def test_stages_by_text(stages, kind):
    count = stages.count("|") + 1
    case = zoo.CASES["mlp_adamw_clipped"]()
    plan = atoll.Plan(stages=stages, microbatches=4, schedule=kind)
    with checked(case, plan, f"{count} x cpu[1]") as step:
        check_cut_in_time(step, case, atoll.schedule(kind, islands=count, microbatches=4))


def test_islands_without_a_stage_stay_empty():
    case = zoo.CASES["mlp_sgd"]()
    with checked(case, atoll.Plan(stages=2, microbatches=4, schedule="1f1b"), "4 x cpu[1]") as step:
        check_cut_in_time(step, case, atoll.schedule("1f1b", islands=2, microbatches=4))
        assert not step.stats().order["island3"]


def test_more_stages_than_cuts():
    def fn(w, x):
        with jax.named_scope("one"):
            return jnp.sum(x @ w)

    case = zoo.Case(jax.value_and_grad(fn), (zoo.normal(1, 4, 3), zoo.normal(2, 8, 4)), batch=(1,))
    for kind in ("1f1b", "gpipe", "zb-h1", "auto"):
        with checked(case, atoll.Plan(microbatches=4, schedule=kind), "4 x cpu[1]") as step:
            assert any(not order for order in step.stats().order.values())


def test_more_stages_than_islands_go_round():
    case = zoo.CASES["mlp_sgd"]()
    stages = "layer_0 | layer_1 | layer_2 | layer_3"
    plan = atoll.Plan(stages=stages, microbatches=4, schedule="interleaved-1f1b(2)")
    with checked(case, plan, "2 x cpu[1]") as step:
        check_cut_in_time(step, case, atoll.schedule("interleaved-1f1b(2)", islands=2, microbatches=4))
    with pytest.raises(PlanError, match="schedule 1f1b has 1 stages an island, and the plan has 4 on 2 islands"):
        compiled(case, atoll.Plan(stages=stages, microbatches=4, schedule="1f1b"), "2 x cpu[1]")


# Shardings.


def divided(case):
    """The batch over `data`, matrices over `model`, by their last axis."""

    def spec(leaf):
        return PartitionSpec(None, "model") if jnp.ndim(leaf) == 2 else PartitionSpec()

    return tuple(
        PartitionSpec("data") if number in case.batch else jax.tree.map(spec, argument)
        for number, argument in enumerate(case.args)
    )


@pytest.mark.one_in(3)
@pytest.mark.parametrize(
    ("name", "topology", "microbatches", "kind"),
    [
        ("mlp_adam", "2 x cpu[data=2, model=2]", 4, "zb-h1"),
        ("mlp_adam", "island a : cpu[data=2, model=2]; island b : cpu[data=2]; island c : cpu[model=2]", 2, "1f1b"),
        ("mlp_sgd", "2 x cpu[data=2, model=2]", 8, "1f1b"),  # one example cannot be divided over `data`
        ("transformer", "2 x cpu[data=2, model=2]", 4, "1f1b"),
        ("transformer", "island a : cpu[data=2, model=2]; island b : cpu[model=2]; island c : cpu[2]", 4, "zb-h1"),
    ],
)
def test_a_batch_that_is_divided_within_islands(name, topology, microbatches, kind):
    case, expected, _ = zoo.named(name)
    plan = atoll.Plan(microbatches=microbatches, schedule=kind)
    with atoll.compile(
        case.fn,
        *case.args,
        topology=topology,
        plan=plan,
        batch_argnums=case.batch,
        donate_argnums=case.donate,
        in_shardings=divided(case),
    ) as step:
        results = step(*zoo.arguments_of(case))
        assert error_of(zoo.leaves(results), expected) < 1e-5
        islands = len(step.program.islands)
        check_cut_in_time(step, case, atoll.schedule(kind, islands=islands, microbatches=microbatches))
        specs = {step.program.buffer(place).spec for one in step.program.inputs for place in one.every_place}
        assert any("model" in axes for spec in specs for axes in spec)
        parts = [one for one in step.program.inputs if one.starts]
        first = {axes for one in parts for place in one.every_place for axes in step.program.buffer(place).spec[:1]}
        assert first == (set() if microbatches == 8 else {("data",)}) or "island c" in topology
        assert bits_of(step(*zoo.arguments_of(case))) == bits_of(results)


# Schedules.


def user_schedule(text):
    return atoll.Schedule.parse(text)


MINE = {
    "last in, first out": """
        schedule mine: 2 islands, 4 microbatches
        island 0: F0 F1 F2 F3 B3 B2 B1 B0
        island 1: F0 F1 F2 F3 B3 B2 B1 B0""",
    "weights on one stage alone": """
        schedule mine: 2 islands, 2 microbatches
        island 0: F0 F1 B0 B1
        island 1: F0 B0 F1 B1 W1 W0""",
    "weights as late as can be": """
        schedule mine: 2 islands, 2 microbatches
        island 0: F0 F1 B1 B0 W1 W0
        island 1: F1 B1 F0 B0 W0 W1""",
    "weights on the last of three": """
        schedule mine: 3 islands, 2 microbatches
        island 0: F0 F1 B0 B1
        island 1: F0 F1 B0 B1
        island 2: F0 B0 F1 B1 W1 W0""",
    "stages the other way": """
        schedule mine: 2 islands, 2 microbatches, stages on 1 0
        island 0: F0 B0 F1 B1
        island 1: F0 F1 B0 B1""",
    "all stages at hand": """
        schedule mine: 2 islands, 2 microbatches, stages on 0 0 1 1
        island 0: F0@0 F1@0 F0@1 F1@1 B0@1 B1@1 B0@0 B1@0
        island 1: F0@2 F0@3 F1@2 B0@3 F1@3 B0@2 B1@3 B1@2""",
    "one island": """
        schedule mine: 1 island, 8 microbatches
        island 0: F0 B0 F1 F2 B2 B1 F3 F4 F5 F6 F7 B7 B3 B5 B4 B6""",
}


@pytest.mark.one_in(3)
@pytest.mark.parametrize("name", MINE)
def test_a_schedule_that_the_user_wrote_is_followed(name):
    case = zoo.CASES["mlp_sgd"]()
    schedule = user_schedule(MINE[name])
    with checked(
        case, atoll.Plan(schedule=schedule, microbatches=schedule.microbatches), f"{schedule.islands} x cpu[1]"
    ) as step:
        check_cut_in_time_of_all(step, schedule)
    with checked(case, atoll.Plan.parse(str(atoll.Plan(schedule=schedule))), f"{schedule.islands} x cpu[1]") as step:
        assert step.plan == atoll.Plan(schedule=schedule)
        check_cut_in_time_of_all(step, schedule)


def check_cut_in_time_of_all(step, schedule):
    """The rows as they were written, all of them: this model has something to do in every task, but stage 0's W."""
    rows = [[str(task) for task in row] for row in schedule.rows]
    found = [orders(step)[island.name] for island in step.program.islands]
    missing = {task for row in rows for task in row} - {task for row in found for task in row}
    assert {(task[0], task.partition("@")[2]) for task in missing} <= {("W", "0")}
    assert found == [[task for task in row if task not in missing] for row in rows]


def test_reading_a_schedule_refuses_what_cannot_be_run():
    for text, sentence in {
        "schedule a: 2 islands, 2 microbatches; island 0: F0 F1 B0 B1; island 1: B0 F0 F1 B1": "B0",
        "schedule a: 2 islands, 2 microbatches; island 0: F0 F1 B0; island 1: F0 B0 F1 B1": "B1",
        "schedule a: 2 islands, 2 microbatches; island 0: F0 F1 B0 B1 B1; island 1: F0 B0 F1 B1": "B1",
        "schedule a: 2 islands, 2 microbatches; island 0: F0 B0 F1 B1; island 1: F1 F0 B1 B0": "wait",
    }.items():
        with pytest.raises(PlanError, match=sentence) as raised:
            user_schedule(text)
        assert "island" in str(raised.value)


@pytest.mark.parametrize(
    ("text", "plan", "sentence"),
    [
        (MINE["weights on the last of three"], {}, "schedule mine is for 3 islands, and here are 2"),
        (MINE["last in, first out"], {"stages": 4}, "stages is 4, and schedule mine has 2"),
        (MINE["last in, first out"], {"microbatches": 8}, "microbatches is 8, and schedule mine has 4"),
        (MINE["last in, first out"], {"stages": "layer_0 | layer_1 | layer_2"}, "schedule mine is for 2 stages"),
        (
            "schedule mine: 2 islands, 2 microbatches; island 0: F0 F1; island 1: F0 F1",
            {},
            "schedule mine has no backward tasks, and the function has",
        ),
        (
            "schedule mine: 2 islands, 1 microbatch; island 0: F0 B0; island 1: F0 B0 W0",
            {},
            "schedule mine runs W0@1 by itself, and with one microbatch no backward task is split; write backward "
            "tasks without weight tasks, or ask for more microbatches",
        ),
    ],
)
def test_a_schedule_that_does_not_fit_is_refused(text, plan, sentence):
    case = zoo.CASES["mlp_sgd"]()
    with pytest.raises(PlanError) as raised:
        compiled(case, atoll.Plan(schedule=user_schedule(text), **plan), "2 x cpu[1]")
    assert sentence in str(raised.value)


def test_a_schedule_of_one_microbatch_is_followed():
    text = "schedule mine: 2 islands, 1 microbatch; island 0: F0 B0; island 1: F0 B0"
    with checked(zoo.CASES["mlp_sgd"](), atoll.Plan(schedule=user_schedule(text)), "2 x cpu[1]") as step:
        assert [[task[:2] for task in order if task[0] in "FB"] for order in orders(step).values()] == [
            ["F0", "B0"],
            ["F1", "B1"],
        ]


@pytest.mark.parametrize("kind", ["dualpipe-v", "forward-only"])
def test_one_microbatch_does_not_make_every_schedule_fit(kind):
    case = zoo.CASES["mlp_sgd"]()
    sentence = {
        "dualpipe-v": "schedule dualpipe-v needs at least 4 microbatches on 2 islands, not 1",
        "forward-only": "schedule forward-only has no backward tasks, and the function has",
    }[kind]
    with pytest.raises(PlanError) as raised:
        compiled(case, atoll.Plan(microbatches=1, schedule=kind), "2 x cpu[1]")
    assert sentence in str(raised.value)


# Sweeps.


@pytest.mark.one_in(3)
@pytest.mark.parametrize("kind", ["auto", "gpipe"])
@pytest.mark.parametrize("count", [2, 3, 4])
def test_more_sweeps_than_two(kind, count):
    def energy(params, x):
        for index, layer in enumerate(params):
            with jax.named_scope(f"layer_{index}"):
                x = jnp.tanh(x @ layer)
        return x.sum()

    def loss(params, x):
        forces = jax.vmap(jax.grad(energy, argnums=1), (None, 0))(params, x)
        return jnp.mean((forces - 1.0) ** 2)

    params = [zoo.normal(number, 4, 4, scale=0.5) for number in range(4)]
    case = zoo.Case(jax.value_and_grad(loss), (params, zoo.normal(9, 8, 4)), batch=(1,))
    stages = {2: TWO, 3: "layer_0 | layer_[1..2] | layer_3", 4: "layer_0 | layer_1 | layer_2 | layer_3"}[count]
    with checked(case, atoll.Plan(stages=stages, microbatches=4, schedule=kind), f"{count} x cpu[1]") as step:
        ran = [task_named(task, 4) for order in orders(step).values() for task in order]
        assert len({(one.kind, one.stage) for one in ran}) > 2 * count
        assert len(ran) == 4 * len({(one.kind, one.stage) for one in ran})
        if kind == "gpipe":  # every sweep of all microbatches before the next
            for order in orders(step).values():
                grouped = [name for name, _ in itertools.groupby((t[0] + task_named(t, 4).stage) for t in order)]
                assert len(grouped) == len(set(grouped))
        else:
            assert (
                "which no schedule is for: it runs as values come, with 4 microbatches open at once, predicted"
                in str(step.report())
            )
    for kind_refused in ("1f1b", "zb-h1"):
        with pytest.raises(PlanError, match="goes over the stages forward and backward, and the function does so"):
            compiled(case, atoll.Plan(stages=stages, microbatches=4, schedule=kind_refused), f"{count} x cpu[1]")


# Memory.


@pytest.mark.one_in(2)
@pytest.mark.parametrize("kind", ["gpipe", "1f1b", "zb-h1", "zb-v"])
def test_memory_does_not_grow_from_step_to_step(kind):
    case = zoo.CASES["mlp_adam"]()
    with compiled(case, atoll.Plan(microbatches=8, schedule=kind), "2 x cpu[1]") as step:
        state, *_ = zoo.arguments_of(case)
        batch = step.put(state, *case.args[1:])[1:]
        seen = []
        for _ in range(5):
            state, _, _ = step(state, *batch)
            stats = step.stats()
            seen.append((stats.peak_bytes, stats.live_bytes))
        assert seen[1:] == seen[1:2] * 4


def test_1f1b_keeps_fewer_activations_than_gpipe():
    case = zoo.CASES["mlp_adam"]()
    peaks = {}
    for kind in ("gpipe", "1f1b"):
        with checked(case, atoll.Plan(microbatches=8, schedule=kind), "2 x cpu[1]") as step:
            peaks[kind] = step.stats().peak_bytes
    assert all(peaks["1f1b"][name] < peaks["gpipe"][name] for name in peaks["gpipe"])


# What grows with the number of microbatches.


def test_neither_ir_nor_code_grows_with_the_number_of_microbatches():
    def step(params, x, y):
        return jax.value_and_grad(lambda params: zoo.squares(zoo.mlp(params, x), y))(params)

    made = {}
    for microbatches in (4, 64):
        batch = (zoo.normal(1, 2 * microbatches, 8), zoo.normal(2, 2 * microbatches, 4))
        case = zoo.Case(step, (zoo.dense_params(3, 8, 8, 8, 4), *batch), batch=(1, 2))
        with checked(case, atoll.Plan(microbatches=microbatches, schedule="zb-h1"), "2 x cpu[1]") as program:
            sizes = {phase: program.ir(phase).count("\n") for phase in program.phases if phase != "program"}
            made[microbatches] = sizes, len(program.program.codes)
    assert made[4] == made[64]


# Dumps.

TRAIN = """\
import atoll, jax, jax.numpy as jnp

def step(state, x, key):
    def loss(w):
        with jax.named_scope("one"):
            h = jnp.tanh(x @ w["a"]) * jax.random.bernoulli(key, 0.9, (8, 8))
        with jax.named_scope("two"):
            return jnp.mean((h @ w["b"] - 3.0) ** 2), h

    (loss, h), grads = jax.value_and_grad(loss, has_aux=True)(state["w"])
    return {"w": jax.tree.map(lambda p, g: p - 0.1 * g, state["w"], grads), "n": state["n"] + 1}, {"loss": loss}, h

f = jax.ShapeDtypeStruct
state = {"w": {"a": f((8, 8), "float32"), "b": f((8, 4), "float32")}, "n": jnp.int32(3)}
key = jax.eval_shape(lambda: jax.random.key(0))
job = atoll.Job(step, state, f((8, 8), "float32"), key, donate_argnums=0, batch_argnums=1)
"""


@pytest.fixture
def command(capsys, monkeypatch, tmp_path):
    """Run a command in this process, in a folder with the job: its status, output and errors."""
    (tmp_path / "train.py").write_text(TRAIN)
    monkeypatch.chdir(tmp_path)
    root, own = logging.getLogger(), logging.getLogger("atoll.compiler.compiled")
    before = root.handlers[:], root.level, own.level
    path = sys.path[:]

    def run(*arguments):
        status = run_here(arguments)
        told = capsys.readouterr()
        assert (status, told.err) == (0, "")
        return told.out

    yield run
    root.handlers[:], root.level, own.level = before
    sys.path[:] = path
    sys.modules.pop("__atoll_target__", None)


def losses(out):
    return re.findall(r"^step \d+: .*= (\S+) \(\d+ ms\)$", out, re.MULTILINE)


@pytest.mark.one_in(2)
@pytest.mark.parametrize("kind", ["1f1b", "zb-h1"])
def test_a_dump_of_every_phase_runs_and_gives_what_the_job_gives(kind, command, tmp_path):
    options = ("--topology=2 x cpu[1]", f'--plan=stages="one | two", microbatches=4, schedule={kind}')
    expected = command("run", "train.py:job", *options, "--steps=2", "--check")
    assert len(losses(expected)) == 2
    tasks = re.search("^tasks: .*?;", expected, re.MULTILINE)[0]
    assert "8 F, 8 B" in tasks
    for phase in PHASES:
        text = command("dump", "train.py:job", *options, "--phase", phase.name, "--debug-info")
        (tmp_path / "dump.mlir").write_text(text)
        out = command("run", "dump.mlir", "--steps=2")
        assert losses(out) == losses(expected), phase.name
        assert tasks in out, phase.name


def test_an_order_that_was_edited_in_a_dump_is_followed(command, tmp_path):
    options = ("--topology=2 x cpu[1]", '--plan=stages="one | two", microbatches=4, schedule=gpipe')
    text = command("dump", "train.py:job", *options, "--phase=scheduled")
    edited = text.replace(
        'island1 = "F0@1 F1@1 F2@1 F3@1 B0@1 B1@1 B2@1 B3@1"', 'island1 = "F0@1 B0@1 F1@1 B1@1 F2@1 B2@1 F3@1 B3@1"'
    )
    assert edited != text
    (tmp_path / "dump.mlir").write_text(edited)
    assert losses(command("run", "dump.mlir")) == losses(command("run", "train.py:job", *options))


# Refusals.


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("convolutions_with_batch_statistics", "mean, var = h.mean((0, 1, 2)), h.var((0, 1, 2))"),
        ("no_parameters", "return jnp.cumsum(z, axis=0), jnp.argmax(z, axis=-1)"),
    ],
)
def test_models_that_mix_examples_are_right_and_told_by_their_line(name, line):
    case = zoo.CASES[name]()
    with compiled(case, atoll.Plan(microbatches=4), "2 x cpu[1]") as step:
        found, report = list(zoo.leaves(step(*jax.tree.map(jnp.copy, case.args)))), str(step.report())
    assert error_of(found, list(zoo.leaves(reference(case.fn, *case.args)))) < 1e-5
    numbers = re.findall(r"(?:wait for each other|done once).* at .*zoo\.py:(\d+)$", report, re.MULTILINE)
    lines = Path(zoo.__file__).read_text().splitlines()
    assert line in {lines[int(number) - 1].strip() for number in numbers}
