"""Programs for TPUs that are not here, compiled by their own compiler."""

import importlib.util
import re
from importlib.metadata import PackageNotFoundError

import jax
import jax.numpy as jnp
import pytest
from atoll.compiler.ahead.cache import VARIABLE
from atoll.compiler.compiled_ahead import CompiledAhead
from atoll.compiler.cost.work import work_of
from atoll.compiler.mlir.ir_text import parse_text
from atoll.compiler.module.tasks import fragment_functions
from atoll.compiler.topology import slices
from atoll.compiler.topology.slices import mesh_of_slice
from atoll.runtime.compilation import fragments_of
from atoll.runtime.prebuilt import key_of, machine_of
from jax.ad_checkpoint import checkpoint_name
from jax.sharding import PartitionSpec as P

import atoll

NO_LIBTPU = importlib.util.find_spec("libtpu") is None
needs_libtpu = pytest.mark.skipif(NO_LIBTPU, reason="libtpu is not installed: pip install 'atoll[tpu]'")

TOPOLOGY = "2 x v5e[2x2](data=2, model=2)"
PLAN = atoll.Plan(stages="one | two", microbatches=2, schedule="1f1b")


def train_step(w, x):
    def loss_fn(w):
        with jax.named_scope("one"):
            h, _ = jax.lax.scan(lambda h, layer: (jnp.tanh(h @ layer), None), x, w["layers"])
        with jax.named_scope("two"):
            return jnp.mean((h @ w["out"]) ** 2)

    loss, gradients = jax.value_and_grad(loss_fn)(w)
    return jax.tree.map(lambda p, g: p - 0.1 * g, w, gradients), loss


def job(width=256, layers=3):
    shape = jax.ShapeDtypeStruct
    weights = {"layers": shape((layers, width, width), "float32"), "out": shape((width, width), "float32")}
    specs = {"layers": P(None, "data", "model"), "out": P()}
    return atoll.Job(
        train_step,
        weights,
        shape((64, width), "float32"),
        batch_argnums=1,
        donate_argnums=0,
        in_shardings=(specs, P("data")),
        out_shardings=(specs, None),
    )


@pytest.fixture(scope="module")
def ahead(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, str(tmp_path_factory.mktemp("cache")))
        lowered = atoll.lower(job(), topology=TOPOLOGY, plan=PLAN)
        yield lowered.compile(), lowered.compile()


@needs_libtpu
def test_the_report_has_what_the_compiler_says(ahead):
    compiled, _ = ahead
    report = compiled.report()
    assert isinstance(compiled, CompiledAhead)
    assert report.compiler.startswith("libtpu ")
    codes = {one.name: one for one in report.codes}
    assert codes["F0"].runs == 2
    # On each device half of a microbatch's rows, and for each layer half of its columns: of all three trips.
    assert codes["F0"].flops == 3 * 2 * 16 * 256 * 128
    assert codes["F0"].collectives > 0
    assert codes["F0"].uncounted == 0
    for one in report.chips:
        assert 15 * 2**30 < one.limit < 16 * 2**30
        assert one.arguments < one.peak < 2**27
        assert one.peak >= one.held + one.programs
    # A device has a quarter of three layers of 256 KiB, and its part of the batch: in whole tiles already.
    assert report.chips[0].arguments == 3 * 2**16 + 2 * 2**14
    assert "a device of " in str(report)


@needs_libtpu
def test_the_cost_model_counts_what_the_compiler_counts(ahead):
    compiled, _ = ahead
    module, island = parse_text(compiled.ir("scheduled")), compiled.topology.islands[0]
    ours = {name: work_of(function, island) for name, function in fragment_functions(module).items()}
    theirs = {one.name: one for one in compiled.report().codes}
    for name in ("F0", "F1", "B1"):  # theirs are products alone
        assert theirs[name].flops <= ours[name].operations < 1.1 * theirs[name].flops
    # The compiler divides the gradient of the weights as what it is added to; here nothing goes back from results.
    assert theirs["B0"].flops < ours["B0"].operations < 2 * theirs["B0"].flops
    for name in ("U0", "U1"):
        assert ours[name].moved == pytest.approx(theirs[name].hbm, rel=0.02)
    for name in ("F0", "F1", "B0", "B1"):  # a chip has room beside its main memory for what is small
        assert theirs[name].hbm < ours[name].moved


@needs_libtpu
def test_what_was_compiled_is_kept(ahead):
    first, again = (one.report().codes for one in ahead)
    assert all(one.seconds for one in first)
    assert not any(one.seconds for one in again)
    assert ahead[0].executables == ahead[1].executables
    assert {name: set(codes) for name, codes in ahead[0].executables.items()} == {
        "island0": {"I0", "F0", "B0", "U0"},
        "island1": {"I1", "F1", "B1", "U1"},
    }


@needs_libtpu
def test_it_cannot_run(ahead):
    compiled, _ = ahead
    with pytest.raises(atoll.AtollError, match=r"ahead.py:\d+: train_step was compiled for 2 x v5e\[2x2\].*cannot"):
        compiled(None, None)
    with pytest.raises(atoll.AtollError, match="is not on this machine"):
        compiled.put()


@needs_libtpu
def test_it_is_saved_with_its_report_and_executables(ahead, tmp_path, monkeypatch):
    from atoll.compiler.report.report import Report
    from atoll.runtime.program_file import load_program

    compiled, _ = ahead
    compiled.save(tmp_path / "step.atoll")
    program = load_program(tmp_path / "step.atoll")
    assert Report.from_json(program.report) == compiled.report()
    # With its executables, under the keys that a machine with such TPUs looks for. The islands are alike, and share.
    made = {content for codes in compiled.executables.values() for content in codes.values()}
    assert {one.content for one in program.prebuilt} == made
    island = program.islands[0]
    mesh = mesh_of_slice(compiled.topology.islands[0])
    machine = machine_of(mesh)
    assert {one.machine for one in program.prebuilt} == {machine}
    assert re.match(r"tpu, jax \S+, jaxlib \S+, libtpu \S+, TPU v5 lite at \w+", machine)
    keys = {
        key_of(program.codes[one.run.code], one.inputs, one.donated, island.axes, machine)
        for one in fragments_of(island)
    }
    assert keys <= {one.key for one in program.prebuilt}
    # Elsewhere it is another machine: a slice of another shape, or other flags.
    others = [machine_of(mesh_of_slice(atoll.topology("1 x v5e[4x4](data=4, model=4)").islands[0]))]
    monkeypatch.setenv("LIBTPU_INIT_ARGS", "--xla_tpu_enable_latency_hiding_scheduler=true")
    others.append(machine_of(mesh))
    assert len({machine, *others}) == 3


@needs_libtpu
def test_the_topology_may_allow_less_than_a_chip_has(ahead, monkeypatch, tmp_path):
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    lowered = atoll.lower(job(128, 1), topology="2 x v5e[1x1](data=1, model=1) 256 KiB", plan=PLAN)
    with pytest.raises(
        atoll.PlanError, match=r"(?s)each device of island island0 has 256.0 KiB and needs.*fragments th"
    ):
        lowered.compile()


@needs_libtpu
@pytest.mark.parametrize(
    ("topology", "sentence"),
    [
        ("2 x v5e[3x2](data=1, model=6)", "libtpu knows no slice v5e:3x2, of island island"),
        (
            "2 x v4[data=2, model=2]",
            r"the shape of island island0's slice is not known; write it before the axes, as in v4\[",
        ),
    ],
)
def test_slices_that_there_are_not(topology, sentence):
    lowered = atoll.lower(job(384), topology=topology, plan=PLAN)
    with pytest.raises(atoll.TopologyError, match=sentence):
        lowered.compile()


def test_without_libtpu_a_sentence_says_what_to_install(monkeypatch):
    def version(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(slices, "version", version)
    lowered = atoll.lower(job(), topology=TOPOLOGY, plan=PLAN)
    with pytest.raises(atoll.TopologyError, match=r"compiler for TPUs is not installed; pip install 'atoll\[tpu\]'"):
        lowered.compile()


@needs_libtpu
def test_residuals_on_the_host_take_no_memory_of_the_chips(monkeypatch, tmp_path):
    """What a policy of `jax.checkpoint` offloads waits there between tasks, and the report tells both apart."""
    monkeypatch.setenv(VARIABLE, str(tmp_path))

    def lowered(policy):
        block = jax.checkpoint(lambda w, x: jnp.sin(checkpoint_name(jnp.tanh(x @ w), "hidden") @ w), policy=policy)

        def fn(w, x):
            return jax.grad(lambda w: block(w, x).sum())(w)

        shape = jax.ShapeDtypeStruct
        plan = atoll.Plan(stages=1, microbatches=2, schedule="gpipe")
        arguments = shape((128, 128), "float32"), shape((1024, 128), "float32")
        return atoll.lower(fn, *arguments, topology="1 x v5e[1x1]", batch_argnums=1, plan=plan)

    policies = jax.checkpoint_policies
    kept = lowered(policies.save_only_these_names("hidden")).compile().report()
    moved = policies.save_and_offload_only_these_names(
        names_which_can_be_saved=[],
        names_which_can_be_offloaded=["hidden"],
        offload_src="device",
        offload_dst="pinned_host",
    )
    offloaded = lowered(moved).compile().report()
    hidden = 2 * 512 * 128 * 4  # of both microbatches
    assert kept.chips[0].host == 0
    assert offloaded.chips[0].host >= hidden
    assert offloaded.islands[0].host_bytes == hidden
    # A product takes it on the way back, so that chips keep it in bfloat16.
    assert offloaded.chips[0].held == kept.chips[0].held - hidden // 2
    assert "on the host, for each device: island0 " in str(offloaded)


@needs_libtpu
def test_a_plan_that_offloads_takes_as_much_from_the_chips_as_the_hosts_have(monkeypatch, tmp_path):
    """Between tasks; while the update runs, the chip has of it what it computes with."""
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    shape = jax.ShapeDtypeStruct

    def fn(w, m, x):
        gradient = jax.grad(lambda w: jnp.mean((x @ w) ** 2))(w)
        return {"w": w - (moved := 0.9 * m["momentum"] + gradient), "m": {"momentum": moved}}

    width = 1024
    weights = shape((width, width), "float32")
    arguments = weights, {"momentum": weights}, shape((256, width), "float32")
    chips = []
    for offload in ("", "momentum"):
        plan = atoll.Plan(stages=1, microbatches=2, schedule="gpipe", offload=offload)
        options = {"batch_argnums": 2, "donate_argnums": (0, 1), "plan": plan}
        (chip,) = atoll.lower(fn, *arguments, topology="1 x v5e[1x1]", **options).compile().report().chips
        chips.append(chip)
    kept, offloaded = chips
    momentum = width * width * 4
    assert kept.host == 0
    assert momentum <= offloaded.host < 2 * momentum
    assert kept.arguments - offloaded.arguments == momentum
    assert kept.results - offloaded.results == momentum
