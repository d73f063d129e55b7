"""What `atoll.lower` gives: all that can be known of a program, without devices and without XLA."""

import gc
import inspect
import subprocess
import sys
import weakref

import jax
import jax.numpy as jnp
import numpy
import pytest
import standing_python
import zoo
from atoll.examples.palm import toy
from atoll.runtime.program import Run
from timed_harness import compiled_quickly  # noqa: F401 (a fixture)

import atoll

PLAN = atoll.Plan(stages="one | two", microbatches=4, schedule="1f1b")
SHAPES = [jax.ShapeDtypeStruct((8, 8), "float32")] * 2, jax.ShapeDtypeStruct((16, 8), "float32")

COMPILED: list[str] = []
jax.monitoring.register_event_duration_secs_listener(
    lambda event, _, **about: COMPILED.append(str(about)) if event.endswith("/backend_compile_duration") else None
)


def train_step(w, x):
    def loss_fn(w):
        with jax.named_scope("one"):
            h = jnp.tanh(x @ w[0])
        with jax.named_scope("two"):
            return jnp.mean((h @ w[1]) ** 2)

    loss, gradients = jax.value_and_grad(loss_fn)(w)
    return [p - 0.1 * g for p, g in zip(w, gradients, strict=True)], loss


JOB = atoll.Job(train_step, *SHAPES, batch_argnums=1, donate_argnums=0)


# Islands that are not here.


@pytest.mark.parametrize(
    ("topology", "platform"),
    [
        ("2 x v4[2x2x1]", "tpu"),
        ("island a : tpu7x[2x2x1](data=4, model=2); island b : tpu7x[2x2x1](data=2, model=4)", "tpu"),
        ("64 x gpu[8]", "cuda"),
        ("2 x cpu[64]", "cpu"),
    ],
)
def test_islands_that_are_not_on_this_machine(topology, platform):
    before = len(COMPILED)
    lowered = atoll.lower(JOB, topology=topology, plan=PLAN)
    assert lowered.platform == platform
    assert lowered.topology == atoll.topology(topology)
    assert lowered.plan == PLAN
    assert lowered.phases == ("stablehlo", "timed", "staged", "placed", "scheduled", "program")
    assert "mpmd.fragment_call" in lowered.ir("scheduled")
    first, second = lowered.report().islands[:2]
    assert (first.tasks[0], second.tasks[0]) == ("I0", "I1")
    assert lowered.schedule == atoll.schedule("1f1b", islands=2, microbatches=4)
    assert {one.name.kind for one in lowered.program.islands[0].instructions if isinstance(one, Run)} == set("IFBU")
    assert len(COMPILED) == before


def test_what_is_lowered_for_other_machines_runs_only_there():
    lowered = atoll.lower(JOB, topology="2 x v4[2x2x1]", plan=PLAN)
    with pytest.raises(atoll.TopologyError, match=r"needs 8 tpu devices, and there are 0; take a kind that this mach"):
        lowered.compile_here()
    with pytest.raises(atoll.TopologyError, match=r"needs 8 gpu devices, and there are 0; take a kind that this mach"):
        atoll.lower(JOB, topology="2 x gpu[4]", plan=PLAN).compile()


def test_a_large_model_is_lowered_for_pods():
    before = len(COMPILED)
    lowered = atoll.lower(toy.job, topology="4 x v4[4x4x4]", plan=atoll.Plan(stages=2, microbatches=2, replicas=2))
    assert [island.tasks[0] for island in lowered.report().islands] == ["I0", "I1"] * 2
    assert len(COMPILED) == before


def test_a_phase_that_there_is_not():
    lowered = atoll.lower(JOB, topology="2 x cpu[1]")
    with pytest.raises(atoll.AtollError, match="there is no phase 'stagd'; did you mean 'staged'"):
        lowered.ir("stagd")


# The same as compile.


@pytest.fixture(scope="module")
def both():
    """The same job, lowered and compiled."""
    lowered = atoll.lower(JOB, topology="2 x cpu[2]", plan=PLAN)
    with lowered.compile() as compiled:
        yield lowered, compiled


def test_it_tells_what_the_compiled_program_tells(both):
    lowered, compiled = both
    assert str(lowered.report()) == str(compiled.report())
    assert lowered.report().to_json() == compiled.report().to_json()
    assert lowered.phases == compiled.phases
    for phase in lowered.phases:
        assert lowered.ir(phase, debug_info=True) == compiled.ir(phase, debug_info=True)
    assert (lowered.plan, lowered.topology, lowered.schedule) == (compiled.plan, compiled.topology, compiled.schedule)
    assert lowered.program == compiled.program


def test_both_write_the_same_file(both, tmp_path):
    for number, one in enumerate(both):
        one.save(tmp_path / f"{number}.atoll")
    first, second = [path.read_bytes() for path in sorted(tmp_path.iterdir())]
    assert first == second


def test_compile_by_itself_writes_the_same_file_too(tmp_path):
    for make in (atoll.lower, atoll.compile):
        make(JOB, topology="2 x cpu[2]", plan=PLAN).save(tmp_path / make.__name__)  # on one line, as it is in the file
    assert (tmp_path / "lower").read_bytes() == (tmp_path / "compile").read_bytes()


def test_what_was_lowered_here_runs_where_it_is_loaded(tmp_path):
    case = zoo.CASES["mlp_adamw_clipped"]()
    atoll.lower(case.fn, *case.args, topology="2 x cpu[1]").save(tmp_path / "step.atoll")
    expected = jax.jit(case.fn)(*case.args)
    with atoll.load(tmp_path / "step.atoll") as step:
        found = step(*case.args)
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        numpy.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_it_is_compiled_as_often_as_one_likes():
    lowered = atoll.lower(lambda x: x * 2, jnp.ones(3), topology="1 x cpu[1]")
    with lowered.compile() as first, lowered.compile() as second:
        for step in (first, second):
            numpy.testing.assert_array_equal(step(jnp.ones(3)), 2 * numpy.ones(3))


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({"topology": "2 x cpu"}, atoll.TopologyError, "the size of 'cpu' is missing"),
        ({"topology": "2 x cpu[1]", "plan": 3}, atoll.PlanError, "the plan is 3, of type int"),
        ({"topology": "3 x cpu[1]", "plan": atoll.Plan(replicas=2)}, atoll.PlanError, "3 islands"),
        (
            {"topology": "2 x cpu[1]", "donate_argnums": 0},
            atoll.CompileError,
            "a job is given, and donate_argnums besi",
        ),
    ],
)
def test_it_refuses_what_compile_refuses(options, error, sentence):
    told = []
    for make in (atoll.lower, atoll.compile):
        with pytest.raises(error, match=sentence) as caught:
            make(JOB, **options)
        told.append(str(caught.value))
    assert told[0] == told[1]


# Callbacks.


def host(x):
    return numpy.asarray(x) + 1


def with_callback(x):
    return jax.pure_callback(lambda x: host(x), jax.ShapeDtypeStruct(x.shape, x.dtype), x)


def test_callbacks_live_until_it_is_compiled():
    def lower():
        def call(x):
            return numpy.asarray(x) + 1

        def fn(x):
            return jax.pure_callback(call, jax.ShapeDtypeStruct(x.shape, x.dtype), x)

        return atoll.lower(fn, jnp.ones(3), topology="1 x cpu[1]"), weakref.ref(call)

    lowered, call = lower()
    jax.clear_caches()
    gc.collect()
    assert call() is not None
    with lowered.compile() as first, lowered.compile() as second:
        del lowered
        gc.collect()
        for step in (first, second):
            numpy.testing.assert_array_equal(step(jnp.ones(3)), 2 * numpy.ones(3))


def test_with_a_callback_it_is_not_saved(tmp_path):
    lowered = atoll.lower(with_callback, jnp.ones(3), topology="1 x cpu[1]")
    with pytest.raises(atoll.CompileError, match="this calls back into Python, so the program cannot be sav") as caught:
        lowered.save(tmp_path / "step.atoll")
    assert caught.value.where == line_of("return jax.pure_callback(lambda x: host(x)")
    assert not (tmp_path / "step.atoll").exists()


@pytest.mark.parametrize(
    ("topology", "in_shardings"),
    [
        ("1 x gpu[4]", None),
        ("1 x v4[2x2x1]", jax.sharding.PartitionSpec("devices")),
        ("1 x cpu[12]", jax.sharding.PartitionSpec("devices")),  # without shardings jax asks for the platform alone
    ],
)
def test_a_callback_for_devices_that_are_not_there_is_refused_at_its_line(topology, in_shardings):
    with pytest.raises(atoll.CompileError) as caught:
        atoll.lower(with_callback, jnp.ones(12), topology=topology, in_shardings=in_shardings)
    assert caught.value.where == line_of("return jax.pure_callback(lambda x: host(x)")
    assert caught.value.what.startswith("pure_callback needs the islands' devices here")


def line_of(text):
    """The place of the one line of this file that begins so."""
    lines = inspect.getsource(sys.modules[__name__]).splitlines()
    [number] = [number for number, line in enumerate(lines, 1) if line.strip().startswith(text)]
    return f"{__file__}:{number}"


# Devices.


def alone(program):
    """What a program prints in a process of its own, without the devices that tests have."""
    text = f"import atoll, jax, jax.numpy as jnp, numpy\n{inspect.cleandoc(program)}"
    settings = standing_python.settings()
    ran = subprocess.run(["python", "-c", text], env=settings, capture_output=True, text=True, timeout=250)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.split()


def test_cpu_devices_are_reserved_for_compiling_later():
    """Lowering itself starts jax, after which there would be no more than one."""
    told = alone("""
        lowered = atoll.lower(lambda x: x @ x, numpy.ones((4, 4), "float32"), topology="3 x cpu[2]")
        print(len(jax.devices()))
        with lowered.compile() as step:
            print(float(step(jnp.ones((4, 4)))[0, 0]))
    """)
    assert told == ["6", "4.0"]


def test_no_devices_are_needed():
    told = alone("""
        print(len(jax.devices()))
        lowered = atoll.lower(lambda x: x @ x, numpy.ones((4, 4), "float32"), topology="3 x cpu[2]")
        try:
            lowered.compile()
        except atoll.TopologyError as error:
            print(f"{error.what}; {error.remedy}".replace(" ", "_"))
        atoll.lower(lambda x: x @ x, numpy.ones((4, 4), "float32"), topology="64 x gpu[8]")
        print(len(jax.devices()))
    """)
    sentence = (
        "the topology needs 6 cpu devices, and there are 1; "
        'put jax.config.update("jax_num_cpu_devices", 6) before jax is first used'
    )
    assert told == ["1", sentence.replace(" ", "_"), "1"]
