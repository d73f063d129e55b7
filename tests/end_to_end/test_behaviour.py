"""What a compiled step promises beside its values: when it returns, what it donates, how it refuses, how it ends."""

import gc
import inspect
import re
import subprocess
import threading
import time
import weakref

import jax
import jax.numpy as jnp
import numpy
import pytest
import standing_python
import zoo
from atoll.runtime.program import Run
from timed_harness import compiled_quickly  # noqa: F401 (a fixture)

import atoll

TWO = "2 x cpu[1]"
X = numpy.arange(12, dtype=numpy.float32).reshape(3, 4)
W = [zoo.normal(number, 4, 4) for number in range(2)]

COMPILED: list[str] = []
jax.monitoring.register_event_duration_secs_listener(
    lambda event, _, **about: COMPILED.append(str(about)) if event.endswith("/backend_compile_duration") else None
)


def two_layers(w, x):
    with jax.named_scope("one"):
        x = jnp.tanh(x @ w[0])
    with jax.named_scope("two"):
        return x @ w[1]


def with_host_call(call, w, x):
    """Two layers; what is between them goes through Python."""
    with jax.named_scope("one"):
        x = jnp.tanh(x @ w[0])
    with jax.named_scope("two"):
        x = jax.pure_callback(call, jax.ShapeDtypeStruct(x.shape, x.dtype), x)
        return x @ w[1]


PLAN = atoll.Plan(stages="one | two")


@pytest.fixture
def step():
    with atoll.compile(two_layers, W, X, topology=TWO, plan=PLAN) as compiled:
        yield compiled


# Futures.


def test_a_step_returns_before_its_work_is_done():
    gate = threading.Event()

    def wait(x):
        assert gate.wait(60)
        return numpy.asarray(x)

    def fn(w, x):
        return with_host_call(wait, w, x)

    with atoll.compile(fn, W, X, topology=TWO, plan=PLAN) as step:
        began = time.monotonic()
        result = step(W, X)
        assert (result.shape, result.islands) == ((3, 4), ("island1",))
        assert time.monotonic() - began < 30
        gate.set()
        numpy.testing.assert_allclose(result, two_layers(W, X), rtol=1e-6)


def test_a_chain_of_steps_needs_no_waiting(step):
    x = X
    for _ in range(20):
        x = step(W, x)
    expected = jnp.asarray(X)
    for _ in range(20):
        expected = jax.jit(two_layers)(W, expected)
    numpy.testing.assert_array_equal(x, expected)


def test_tasks_complete_in_the_planned_order():
    case = zoo.CASES["mlp_adamw_clipped"]()
    with atoll.compile(case.fn, *case.args, topology="3 x cpu[1]") as step:
        planned = {
            island.name: tuple(one.task for one in island.instructions if isinstance(one, Run))
            for island in step.program.islands
        }
        for _ in range(3):
            step(*case.args)
            assert step.stats().order == planned
        assert sum(step.stats().tasks.values()) == sum(map(len, planned.values()))
        assert set(step.stats().tasks) == {"F", "B", "U"}


# Donation.


@pytest.mark.near
def test_donated_state_is_updated_in_place_for_fifty_steps():
    case = zoo.CASES["mlp_adam"]()
    state = jax.tree.map(jnp.copy, case.args[0])
    with atoll.compile(case.fn, *case.args, topology=TWO, donate_argnums=0) as step:
        live = []
        for _ in range(50):
            given = state
            state = step(state, *case.args[1:])[0]
            assert all(leaf.is_deleted() for leaf in jax.tree.leaves(given))
            live.append((step.stats().live_bytes, step.stats().peak_bytes))
        assert len({str(one) for one in live[1:]}) == 1
        expected = case.args[0]
        for _ in range(50):
            expected = jax.jit(case.fn)(expected, *case.args[1:])[0]
        for ours, theirs in zip(jax.tree.leaves(state), jax.tree.leaves(expected), strict=True):
            numpy.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_an_argument_that_was_donated_is_refused():
    with atoll.compile(lambda w: w * 2, X, topology="1 x cpu[1]", donate_argnums=0) as step:
        first = step(X)
        step(first)
        with pytest.raises(atoll.AtollError, match=r"was donated to a step and is gone(.|\n)*#calls$"):
            step(first)
        numpy.testing.assert_array_equal(X, numpy.arange(12).reshape(3, 4))


def test_what_is_not_donated_is_untouched(step):
    w, x = [leaf + 0 for leaf in W], X.copy()
    before = [numpy.array(leaf) for leaf in (*w, x)]
    results = [step(w, x) for _ in range(3)]
    again = step(w, results[0])
    x[:] = 7  # the caller's own: what was passed was read at once
    for ours, theirs in zip(w, before, strict=False):
        numpy.testing.assert_array_equal(ours, theirs)
    for result in results:
        numpy.testing.assert_array_equal(result, jax.jit(two_layers)(W, X))
    numpy.testing.assert_array_equal(again, jax.jit(two_layers)(W, numpy.asarray(results[0])))


# Arguments.


def test_numbers_and_numpy_arrays_are_arguments_as_for_jit():
    def fn(half, scalar, count, flag):
        return half * scalar, scalar * 2, count + scalar, jnp.where(flag, half, 0)

    args = (numpy.arange(3, dtype=jnp.bfloat16), 1.5, 3, True)
    with atoll.compile(fn, *args, topology=TWO) as step:
        found, expected = step(*args), jax.jit(fn)(*args)
        for ours, theirs in zip(found, expected, strict=True):
            assert (ours.dtype, ours.weak_type) == (theirs.dtype, theirs.weak_type)
            numpy.testing.assert_array_equal(ours, theirs)


def test_a_state_that_begins_with_numbers_goes_on_as_for_jit():
    def fn(state, x):
        params, momentum = state
        gradients = jax.grad(lambda params: jnp.mean((x @ params["w"] * jnp.exp(params["t"]) - 1) ** 2))(params)
        momentum = jax.tree.map(lambda old, new: 0.9 * old + new.astype(old.dtype), momentum, gradients)
        return jax.tree.map(lambda one, step: one - 0.1 * step, params, momentum), momentum

    params = {"w": jnp.ones((3, 3)), "t": jnp.log(1 / 0.07)}
    state, x = (params, jax.tree.map(jnp.zeros_like, params)), jnp.ones((4, 3))
    ours, theirs = state, state
    with atoll.compile(fn, state, x, topology=TWO) as step:
        for _ in range(3):
            ours, theirs = step(ours, x), jax.jit(fn)(theirs, x)
            for found, expected in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
                assert found.dtype == expected.dtype
                numpy.testing.assert_allclose(found, expected, rtol=1e-6)
        kinds = [[leaf.weak_type for leaf in jax.tree.leaves(state)] for state in (state, ours, theirs)]
        assert kinds[0] != kinds[1] == kinds[2]
        step(jax.tree.map(numpy.asarray, ours), x)  # as from a checkpoint


def test_shapes_are_enough_to_compile():
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), (W, X))
    with atoll.compile(two_layers, *shapes, topology=TWO, plan=PLAN) as step:
        numpy.testing.assert_array_equal(step(W, X), jax.jit(two_layers)(W, X))


def test_static_arguments():
    def fn(x, power):
        return x**power

    with atoll.compile(fn, X, 3, topology="1 x cpu[1]", static_argnums=1) as step:
        numpy.testing.assert_array_equal(step(X, 3), X**3)
        with pytest.raises(atoll.CompileError, match="static argument power is 4, compiled for 3"):
            step(X, 4)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda step: step(W, X[:2]), r"x is float32\[2, 4\], but .* compiled for float32\[3, 4\]"),
        (lambda step: step(W, X.astype(int)), r"x is int32\[3, 4\], but .* compiled for float32\[3, 4\]"),
        (lambda step: step([W[0]], X), r"argument w has another structure"),
        (lambda step: step(W, "text"), r"x is a str, not an array"),
        (lambda step: step(W), r"compiled for 2 arguments and is called with 1"),
        (lambda step: step(W, X, X), r"compiled for 2 arguments and is called with 3"),
        (lambda step: step(W, x=X), r"called with keyword x"),
    ],
    ids=["shape", "dtype", "structure", "text", "too few", "too many", "keyword"],
)
def test_a_wrong_call_is_refused_in_one_sentence_at_the_users_line(step, call, sentence):
    with pytest.raises(atoll.AtollError, match=sentence) as caught:
        call(step)
    assert "\n" not in caught.value.sentence
    assert caught.value.where == f"{__file__}:{call.__code__.co_firstlineno}"
    numpy.testing.assert_array_equal(step(W, X), jax.jit(two_layers)(W, X))


# Threads.


@pytest.mark.parametrize(
    ("args", "options", "what"),
    [
        ((W, X), {}, "arguments"),
        ((), {"batch_argnums": 1}, "batch_argnums"),
        ((), {"donate_argnums": (0,)}, "donate_argnums"),
        ((), {"batch_argnums": numpy.array([0, 1])}, "batch_argnums"),
        ((), {"in_shardings": jax.sharding.PartitionSpec()}, "in_shardings"),
    ],
)
def test_what_is_given_beside_a_job_is_refused_not_ignored(args, options, what):
    job = atoll.Job(two_layers, W, X)
    with pytest.raises(atoll.CompileError) as caught:
        atoll.compile(job, *args, topology=TWO, **options)
    assert caught.value.where.startswith(f"{__file__}:")
    assert caught.value.what == f"a job is given, and {what} beside it"


@pytest.mark.parametrize("placed", [jax.device_put, lambda numbers: numbers], ids=["on a device", "numbers"])
def test_a_guard_against_transfers_lets_a_step_cut_and_place_its_batch(placed):
    plan = atoll.Plan(stages=2, microbatches=3)
    expected = jax.jit(two_layers)(W, X)
    arguments = placed((W, X))
    with (
        atoll.compile(two_layers, W, X, topology=TWO, plan=plan, batch_argnums=1) as step,
        jax.transfer_guard("disallow"),
    ):
        found = step(*arguments)
    numpy.testing.assert_allclose(found, expected, rtol=1e-6)


def test_calls_from_several_threads(step):
    found = {}

    def work(number):
        for _ in range(5):
            found[number] = numpy.asarray(step(W, X + number))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == 4
    for number, result in found.items():
        numpy.testing.assert_array_equal(result, jax.jit(two_layers)(W, X + number))


# Failures.


def test_a_fragment_that_fails_is_told_at_the_caller():
    fail = True

    def call(x):
        if fail:
            raise RuntimeError("the host has no answer")
        return numpy.asarray(x)

    def fn(w, x):
        return with_host_call(call, w, x)

    with atoll.compile(fn, W, X, topology=TWO, plan=PLAN) as step:
        good = step.program.codes
        result = step(W, X)
        with pytest.raises(atoll.AtollError, match="the host has no answer") as caught:
            numpy.asarray(result)
        assert "F1" in str(caught.value)
        assert "island1" in str(caught.value)
        assert caught.value.where.startswith(f"{__file__}:")
        # What the failed step was given is as it was, and so is the program.
        fail = False
        numpy.testing.assert_allclose(step(W, X), two_layers(W, X), rtol=1e-6)
        assert step.program.codes is good


def test_a_failure_reaches_all_that_depends_on_it_and_nothing_else():
    def fail(x):
        raise RuntimeError("no")

    def fn(x):
        with jax.named_scope("one"):
            first = x * 2
        with jax.named_scope("two"):
            bad = jax.pure_callback(fail, jax.ShapeDtypeStruct(x.shape, x.dtype), first)
        with jax.named_scope("three"):
            return first, bad, bad + 1

    plan = atoll.Plan(stages="one | two | three")
    with atoll.compile(fn, X, topology="3 x cpu[1]", plan=plan) as step:
        first, bad, after = step(X)
        numpy.testing.assert_array_equal(first, 2 * X)
        for one in (bad, after):
            with pytest.raises(atoll.AtollError, match=r"F1.*island1.*no"):
                one.block_until_ready()


# Compilations.


@pytest.mark.near
def test_xla_compiles_each_code_once_for_all_islands():
    case = zoo.CASES["checkpointed"]()
    before = len(COMPILED)
    with atoll.compile(case.fn, *case.args, topology=TWO) as step:
        assert len(COMPILED) - before == len(step.program.codes)
        step(*case.args)
        settled = len(COMPILED)
        for _ in range(3):
            step(*case.args)
        assert len(COMPILED) == settled


def test_like_layers_share_one_code():
    def fn(w, x):
        for number in range(4):
            with jax.named_scope(f"layer_{number}"):
                x = jnp.tanh(x @ w[number])
        return x

    w = [zoo.normal(number, 4, 4) for number in range(4)]
    plan = atoll.Plan(stages="layer_0 | layer_1 | layer_2 | layer_3")
    with atoll.compile(fn, w, X, topology="4 x cpu[1]", plan=plan) as step:
        assert len(step.program.codes) == 1
        numpy.testing.assert_array_equal(step(w, X), jax.jit(fn)(w, X))


# The end.


def test_a_closed_program_refuses_calls_and_its_results_stay():
    with atoll.compile(two_layers, W, X, topology=TWO, plan=PLAN) as step:
        result = step(W, X)
    step.close()
    numpy.testing.assert_array_equal(result, jax.jit(two_layers)(W, X))
    for use in (step, step.put):
        with pytest.raises(atoll.AtollError, match=rf"^{re.escape(__file__)}:\d+: this program was closed"):
            use(W, X)


@pytest.mark.near
def test_a_program_that_is_forgotten_ends_its_threads():
    before = set(threading.enumerate())
    step = atoll.compile(two_layers, W, X, topology=TWO, plan=PLAN)
    result = step(W, X)
    threads = set(threading.enumerate()) - before
    assert threads
    gone = weakref.ref(step)
    del step
    gc.collect()
    assert gone() is None
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    numpy.testing.assert_array_equal(result, jax.jit(two_layers)(W, X))


def test_a_program_that_is_still_running_at_exit_does_not_hang():
    ran = run_alone("""
        import atoll
        step = atoll.compile(lambda x: jnp.tanh(x) @ x.T, x, topology="2 x cpu[2]")
        for _ in range(5):
            y = step(x)
        print(y.shape)
    """)
    assert (ran.returncode, ran.stdout.strip()) == (0, "(8, 8)"), ran.stderr


# Devices.


def run_alone(program):
    """A program in a process of its own, without the devices that tests have."""
    text = "import jax, jax.numpy as jnp, numpy\nx = numpy.ones((8, 8), 'float32')\n" + inspect.cleandoc(program)
    settings = standing_python.settings()
    return subprocess.run(["python", "-c", text], env=settings, capture_output=True, text=True, timeout=250)


def test_devices_are_created_as_long_as_they_can_be():
    ran = run_alone("""
        import atoll
        with atoll.compile(lambda x: x @ x, x, topology="3 x cpu[2]") as step:
            numpy.asarray(step(x))
        print(len(jax.devices()))
    """)
    assert (ran.returncode, ran.stdout.strip()) == (0, "6"), ran.stderr


def test_devices_that_come_too_late_are_an_error_with_the_line_to_add():
    program = """
        jax.devices()
        import atoll
        atoll.compile(lambda x: x @ x, x, topology="3 x cpu[2]")
    """
    ran = run_alone(program)
    assert ran.returncode == 1
    sentence = ran.stderr
    assert "the topology needs 6 cpu devices, and there are 1; put " in sentence
    line = re.search(r"put (.*) before jax is first used", sentence)[1]
    ran = run_alone(f"{line}\n{inspect.cleandoc(program)}")
    assert ran.returncode == 0, ran.stderr
