"""What a plan that leaves the number of microbatches open gets: by the planner, or one, and why."""

from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from atoll.compiler.commands.cli import run_here
from atoll.compiler.errors import PlanError
from atoll.compiler.export.frontend import export
from atoll.compiler.mlir.ir_text import parse_text, print_module, to_bytecode
from atoll.compiler.module.division import without_refused_choice
from atoll.compiler.module.notes import OneMicrobatch, PlannedDivision
from atoll.compiler.module.noting import notes_of
from atoll.compiler.module.planned import asked_plan_of, plan_of
from atoll.compiler.pipeline.pass_manager import run_passes
from atoll.compiler.pipeline.pipeline import phase_named
from atoll.compiler.pipeline.registry import steps_of_phase, steps_of_text
from atoll.compiler.pipeline.resume import steps_to_plan, write_texts
from atoll.compiler.plan.plan import Plan
from atoll.compiler.planner.choice import BatchDivision, Choice
from atoll.compiler.planner.measuring import devices_of_batch
from atoll.compiler.planner.settings import divisions
from atoll.compiler.topology.topology import topology

import atoll

pytestmark = pytest.mark.own

WIDTH, LAYERS, BATCH = 512, 8, 512


def net(weights, x):
    for weight in weights:
        x = jnp.tanh(x @ weight)
    return jnp.mean(x**2)


def step(weights, x):
    loss, gradients = jax.value_and_grad(net)(weights, x)
    return jax.tree.map(lambda weight, gradient: weight - 0.1 * gradient, weights, gradients), loss


def job(fn=step, batch=BATCH, layers=LAYERS, **options):
    weights = [jax.ShapeDtypeStruct((WIDTH, WIDTH), "float32")] * layers
    x = jax.ShapeDtypeStruct((batch, WIDTH), "float32")
    return atoll.Job(fn, weights, x, **({"batch_argnums": 1, "donate_argnums": 0} | options))


@pytest.fixture(scope="module")
def whole():
    """The train step at phase `stablehlo`, as bytecode: it is exported once."""
    module = export(job(), topology("4 x cpu[1]"))
    run_passes(module, steps_of_phase(phase_named("stablehlo")))
    return to_bytecode(module)


def decided(content, islands, plan="stages=auto"):
    """The plan that a module gets, and what is noted of it."""
    module = parse_text(content)
    write_texts(module, topology(islands), Plan.parse(plan))
    run_passes(module, steps_of_text("resolve-plan"))
    facts = [note.fact for note in notes_of(module)]
    return plan_of(module), facts


def numbers(plan):
    return plan.stages, plan.microbatches, plan.replicas


@pytest.mark.parametrize(
    ("islands", "plan", "expected"),
    [
        ("4 x cpu[1]", "", (4, 4, 1)),
        ("2 x cpu[1]", "schedule=1f1b", (2, 4, 1)),
        # Some of the islands stay empty, as the plan has it, and it has fewer stages to fill.
        ("4 x cpu[1]", "stages=2, replicas=1", (2, 2, 1)),
        ("4 x cpu[1]", "replicas=2", (2, 2, 2)),
        ("4 x cpu[1]", "schedule=interleaved-1f1b, replicas=2", (4, 2, 2)),
        # Where it is known that there is room for all parameters on each island, replicas are tried as well.
        ("4 x cpu[1] 1 GiB", "", (1, 1, 4)),
        ("4 x cpu[1] 1 GiB", "replicas=1", (4, 4, 1)),
        ("4 x cpu[1] 1 GiB", "stages=2", (2, 2, 2)),
        # A stage that waits for no other has one microbatch, unless the batch has no room there.
        ("1 x cpu[1]", "", (1, 1, 1)),
        ("2 x cpu[1]", "replicas=2", (1, 1, 2)),
        ("1 x cpu[1] 1 GiB", "", (1, 1, 1)),
    ],
)
def test_what_is_open_is_chosen(whole, islands, plan, expected):
    assert numbers(decided(whole, islands, plan)[0]) == expected


def test_what_was_chosen_is_told_with_what_it_is_predicted_to_save(whole):
    _, [fact] = decided(whole, "4 x cpu[1]")
    assert (fact.microbatches, fact.replicas) == (4, 1)
    assert 0 < 1.5 * fact.step < fact.undivided


def test_the_same_program_gets_the_same_plan(whole):
    assert decided(whole, "4 x cpu[1]") == decided(whole, "4 x cpu[1]")


def test_what_a_plan_says_of_all_parts_is_not_asked_about(whole, monkeypatch):
    monkeypatch.setattr(BatchDivision, "chosen", None)
    assert numbers(decided(whole, "4 x cpu[1]", "microbatches=1")[0]) == (4, 1, 1)


def mixing(weights, x):
    return net(weights[1:], jnp.tanh(x @ weights[0])[::-1])


@pytest.mark.parametrize(
    ("fn", "options", "plan", "why"),
    [
        (step, {"batch_argnums": ()}, "", None),
        (step, {"batch": 521}, "", "the batch of 521 is not to be divided"),
        (step, {"layers": 1, "batch": 8}, "", "all work of a step is predicted to take"),
        (step, {}, 'placement={"a": "island0"}', "nothing is predicted of a placement"),
        (step, {}, "stages=3", "the stages of the plan go unevenly round the islands"),
        (jax.grad(mixing), {}, "", "more would go over the stages 2 times, as examples need all others"),
        (jax.grad(mixing), {}, "extra=0", "the batch cannot be cut: "),
    ],
    ids=["no batch", "prime", "short", "placement", "uneven", "loops", "refused"],
)
def test_one_microbatch_has_its_reason(fn, options, plan, why):
    module = export(job(fn, donate_argnums=(), **options), topology("2 x cpu[1]"))
    run_passes(module, steps_of_phase(phase_named("stablehlo")))
    found, facts = decided(to_bytecode(module), "2 x cpu[1]", plan)
    assert found.microbatches == 1
    assert [str(fact).startswith(f"one microbatch, as {why}") for fact in facts] == ([] if why is None else [True]), (
        facts
    )


def test_what_a_later_pass_refuses_is_taken_back(monkeypatch):
    """The number that is chosen here does not divide the batch, which stands for whatever only a later phase knows."""
    monkeypatch.setattr(BatchDivision, "chosen", lambda *_: Choice(1, 3, 1.0, 2.0))
    lowered = atoll.lower(job(), topology="2 x cpu[1]")
    assert lowered.program.plan == "stages=auto, microbatches=auto, schedule=auto, replicas=auto"
    [note] = [one.fact for one in lowered.report().notes if isinstance(one.fact, OneMicrobatch | PlannedDivision)]
    assert str(note).startswith("one microbatch, as more are refused: ")
    with pytest.raises(PlanError, match="has 512 examples, which 3 microbatches cannot share evenly"):
        atoll.lower(job(), topology="2 x cpu[1]", plan=Plan(microbatches=3))


@pytest.mark.parametrize(
    "command",
    [
        ("dump", "--phase", "timed"),
        ("dump", "--after", "resolve-plan"),
        ("dump", "--all", "dumped"),
        ("opt", "--passes", "normalize, time, stage, place, schedule"),
    ],
    ids=" ".join,
)
def test_ir_is_shown_without_what_a_later_pass_refuses(command, whole, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(BatchDivision, "chosen", lambda *_: Choice(1, 3, 1.0, 2.0))
    monkeypatch.chdir(tmp_path)
    module = parse_text(whole)
    write_texts(module, topology("2 x cpu[1]"), Plan())
    Path("whole.mlir").write_text(print_module(module))
    assert run_here([*command[:1], "whole.mlir", *command[1:]]) == 0
    files = sorted(Path("dumped").glob("*.mlir"))
    text = files[-1].read_text() if files else capsys.readouterr().out
    assert "one-microbatch" in text
    assert 'kind = "planned-division"' not in text
    assert ", microbatches=1, " in text
    assert [file.name[:2] for file in files] == [f"{number:02d}" for number in range(len(files))]


def test_what_a_module_has_chosen_already_is_not_taken_back(monkeypatch):
    """It was not chosen here, and to go on without it would be another program than the module is."""
    monkeypatch.setattr(BatchDivision, "chosen", lambda *_: Choice(1, 3, 1.0, 2.0))
    module = export(job(), topology("2 x cpu[1]"))
    write_texts(module, topology("2 x cpu[1]"), Plan())
    run_passes(module, steps_to_plan(module))
    with pytest.raises(PlanError, match="has 512 examples, which 3 microbatches cannot share evenly"):
        without_refused_choice(module, lambda one: run_passes(one, steps_of_text("fold-batch")))


@pytest.mark.parametrize(
    ("islands", "axes", "devices"),
    [
        ("2 x cpu[data=4]", ("data",), 4),
        ("2 x cpu[data=4]", (None, "data"), 1),
        ("2 x cpu[data=4, model=2]", (("data", "model"),), 8),
        ("island a : cpu[data=4]; island b : cpu[data=2]", ("data",), 4),
    ],
)
def test_how_many_devices_divide_a_batch(islands, axes, devices):
    islands = topology(islands)
    module = export(job(batch=16, in_shardings=(jax.P(), jax.P(*axes))), islands)
    assert devices_of_batch(module, islands) == devices


def test_a_microbatch_has_examples_for_all_devices_that_divide_the_batch():
    islands = topology("2 x cpu[data=4]")
    assert list(divisions(islands, 16, 4)) == [(1, 1, 16.0), (1, 2, 8.0), (1, 4, 4.0), (2, 1, 8.0), (2, 2, 4.0)]


def test_a_module_that_is_divided_stays_so_on_other_islands(whole):
    module = parse_text(whole)
    write_texts(module, topology("4 x cpu[1]"), Plan())
    run_passes(module, steps_of_phase(phase_named("timed")))
    again = parse_text(to_bytecode(module))
    write_texts(again, topology("2 x cpu[1]"), None)
    assert numbers(plan_of(again)) == (2, 4, 1)
    assert str(asked_plan_of(again)) == "stages=auto, microbatches=4, schedule=auto, replicas=auto"


def test_own_pieces_are_not_asked_about(monkeypatch):
    """A step that takes its batch in pieces has said into how many it is divided."""

    def accumulating(weights, x):
        pieces = x.reshape(4, -1, WIDTH)
        return jax.lax.scan(lambda total, piece: (total + net(weights, piece), None), 0.0, pieces)[0]

    monkeypatch.setattr(BatchDivision, "chosen", None)
    assert "microbatches=4" in atoll.lower(job(accumulating, donate_argnums=()), topology="2 x cpu[1]").program.plan


def test_replicas_are_not_chosen_where_each_would_print():
    def telling(weights, x):
        jax.debug.print("{}", jnp.sum(x))
        return net(weights, x)

    module = export(job(telling, donate_argnums=()), topology("2 x cpu[1] 1 GiB"))
    run_passes(module, steps_of_phase(phase_named("stablehlo")))
    assert decided(to_bytecode(module), "2 x cpu[1] 1 GiB")[0].replicas == 1


def test_memory_asks_for_microbatches_on_one_island():
    """All examples at once keep more for the backward part than the island has."""

    def deep(weights, x):
        return net(weights * 4, x)

    lowered = atoll.lower(job(jax.grad(deep), layers=1, batch=1024, donate_argnums=()), topology="1 x cpu[1] 8 MB")
    assert lowered.report().islands[0].peak_bytes <= 8_000_000
    assert "of which it is not sure that it fits" in str(lowered.report())


def adam_like(state, x):
    weights, moments = state["weights"], state["moments"]
    gradients = jax.grad(net)(weights, x)
    moments = [0.9 * moment + gradient for moment, gradient in zip(moments, gradients, strict=True)]
    return {"weights": [w - 0.1 * m for w, m in zip(weights, moments, strict=True)], "moments": moments}


@pytest.mark.parametrize(
    ("memory", "plan", "update", "offload"),
    [
        ("1 GiB", "replicas=2", "auto", "auto"),
        ("25 MB", "replicas=2", "sharded", "auto"),
        ("25 MB", "replicas=2, update=whole", "whole", "moments"),
        ("20 MB", "replicas=2", "auto", "moments"),
        # Nothing fits. What needs least of the memory may still do, as counts of layers are rough.
        ("15 MB", 'replicas=2, offload=""', "sharded", ""),
    ],
)
def test_who_updates_what_is_chosen_where_memory_asks_for_it(memory, plan, update, offload):
    weights = [jax.ShapeDtypeStruct((WIDTH, WIDTH), "float32")] * LAYERS
    x = jax.ShapeDtypeStruct((BATCH, WIDTH), "float32")
    state = {"weights": weights, "moments": weights}
    islands = f"2 x cpu[1] {memory}; link island0 <-> island1 : 1 GB/s, 10 us"
    module = export(atoll.Job(adam_like, state, x, batch_argnums=1, donate_argnums=0), topology(islands))
    run_passes(module, steps_of_phase(phase_named("stablehlo")))
    found, facts = decided(to_bytecode(module), islands, plan)
    assert (found.update, found.offload) == (update, offload), facts
