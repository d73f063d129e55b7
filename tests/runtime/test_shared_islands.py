"""Programs that share islands: one order for all, memory that is for all, and what the controller has to say."""

import gc
import random
import sys
import threading

import jax
import numpy
import pytest
from atoll.compiler.errors import TopologyError, UsageError
from atoll.runtime.controller import Controller
from atoll.runtime.ground import OwnDevices
from atoll.runtime.hosted_islands import HostedIslands
from atoll.runtime.messages import Load, Loaded, Start, StepEnded
from atoll.runtime.program import Buffer, Input, IslandProgram, Output, Program
from atoll.runtime.record import Record
from socket_hosts import Wires

pytestmark = pytest.mark.own

SHAPE, AXES, SPEC = (2, 2), ("x", "y"), (("x",), ("y",))
SIZES = tuple(zip(AXES, SHAPE, strict=True))


def stores(hosted):
    """For each island how many values are kept, and the bytes that are live."""
    hosted.settle(60)
    sites = {name: port._sites[name] for name, port in hosted._ends.items()}
    return {name: (len(site.store), site.store.device.live) for name, site in sites.items()}


@pytest.fixture
def shared(make_meshes):
    """Two islands of four devices each."""
    made = HostedIslands(OwnDevices(make_meshes(SHAPE, AXES)))
    yield made
    made.close()


def on(hosted, program, **options):
    return Controller(program, hosted, timeout=120, **options)


def test_two_to_four_programs_with_collectives(shared, make_train_program, values, reference_step, request):
    """From threads of their own, in every order; each hands its state on, and one reads what another has made."""
    programs = [make_train_program(SPEC, SIZES, donated=donated) for donated in (True, False, True, False)]
    controllers = [on(shared, program) for program in programs]
    *state, x = values
    expected = [state]
    for _ in range(4):
        expected.append(list(reference_step(*expected[-1], x)[:2]))
    choices = random.Random(0)
    wrong = []

    def work(controller, steps):
        now = state
        try:
            for number in range(steps):
                *now, _ = controller.start([*now, x])
                if number % 2:
                    *read, _ = controllers[1].start([*now, x])  # another program, which does not donate
                    numpy.testing.assert_allclose(read[0], expected[number + 2][0], rtol=1e-4, atol=1e-5)
            numpy.testing.assert_allclose(now[1], expected[steps][1], rtol=1e-4, atol=1e-5)
        except Exception as error:
            wrong.append(error)

    for _ in range(200 if request.config.getoption("full") else 60):
        chosen = choices.sample(controllers, choices.randint(2, 4))
        threads = [threading.Thread(target=work, args=(one, choices.randint(1, 3))) for one in chosen]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        assert not any(thread.is_alive() for thread in threads), "the programs wait for each other"
        assert not wrong, wrong[0]


def test_two_hundred_steps_leave_every_store_as_the_second_does(shared, make_train_program, values):
    trains, reads = (
        on(shared, make_train_program(SPEC, SIZES)),
        on(shared, make_train_program(SPEC, SIZES, donated=False)),
    )
    *state, x = values
    found = []
    for step in range(200):
        *state, loss = trains.start([*state, x])
        *_, other = reads.start([*state, x])
        del _
        if step in (1, 50, 199):
            loss.block_until_ready()
            other.block_until_ready()
            reads.stats()
            gc.collect()
            found.append(stores(shared))
    assert found[0] == found[1] == found[2]
    # The parameters on both islands, and on the right the two losses.
    assert {name: count for name, (count, _) in found[0].items()} == {"left": 1, "right": 3}


def test_what_one_program_makes_does_not_leave_its_islands_for_another(shared, make_train_program, values):
    one, other = (on(shared, make_train_program(SPEC, SIZES, donated=False)) for _ in range(2))
    *state, x = values
    *state, _ = one.start([*one.put([*state, x])])
    other.start([*state, *other.put(values)[2:]])
    assert other.stats().messages == 2  # what the step itself sends
    assert other.stats().control == {"Start": 1, "StepEnded": 2, "Offer": 0}


def test_a_program_on_one_island_is_given_what_another_has(shared, make_train_program, values):
    """The island that has it sends it, though it has nothing else to do for that program."""
    matrix = Buffer((4, 4), "float32", SPEC)
    right = IslandProgram("right", SIZES, (matrix,), ())
    place = ((("right", 0),),)
    takes = Program(
        (right,), (), (Input("w", (4, 4), "float32", places=place),), (Output("y", (4, 4), "float32", False, place),)
    )
    train = on(shared, make_train_program(SPEC, SIZES))
    reads = Controller(takes, shared, timeout=120)
    *state, x = values
    w, *_ = train.start([*state, x])
    (found,) = reads.start([w])
    assert found.islands == ("right",)
    numpy.testing.assert_array_equal(found, w)
    assert reads.stats().bytes_per_link == {("left", "right"): 64}


# Memory. On each device of an island a train step on four devices works with 64 bytes at most.


def test_memory_for_one_of_three(make_meshes, make_train_program, values, reference_step):
    """Their states fit, and what one of them works with; so steps wait for those of other programs.

    Messages take up to ten milliseconds, so that a step is under way for long, as seen by the controller.
    """
    program = make_train_program(SPEC, SIZES)
    wires = Wires(seed=0, longest=0.01)
    limits = {"left": 190, "right": 190}
    shared = HostedIslands(OwnDevices(make_meshes(SHAPE, AXES), hosts=wires.make_hosts), limits)
    *state, x = values
    expected = state
    for _ in range(8):
        *expected, _ = reference_step(*expected, x)
    found, wrong, compiled = {}, [], threading.Barrier(3)

    def work(number):
        controller = on(shared, program)
        try:
            controller.compile()
            compiled.wait(60)  # or one might be over before another begins
            now = state
            for _ in range(8):
                *now, _ = controller.start([*now, x])
            found[number] = [numpy.asarray(one) for one in now]
        except Exception as error:
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not wrong, wrong[0]
    for one in found.values():
        numpy.testing.assert_allclose(one[0], expected[0], rtol=1e-4, atol=1e-5)
    assert len(found) == 3
    assert shared.stalls > 0
    shared.close()
    wires.close()


def test_what_can_never_fit_is_refused_with_the_arithmetic(make_meshes, make_train_program):
    shared = HostedIslands(OwnDevices(make_meshes(SHAPE, AXES)), {"left": 40})
    with pytest.raises(
        TopologyError,
        match=r"^\S+: a step can never run here: a device of island left has 40 bytes; the step needs \d+; cut into",
    ):
        on(shared, make_train_program(SPEC, SIZES))


def test_a_step_that_waits_in_vain_says_for_what(make_meshes, make_train_program, values, monkeypatch):
    monkeypatch.setattr("atoll.runtime.controller._GRACE", 0.2)
    shared = HostedIslands(OwnDevices(make_meshes(SHAPE, AXES)), {"left": 100})
    controller, other = (on(shared, make_train_program(SPEC, SIZES, donated=False)) for _ in range(2))
    kept = [one.put(values) for one in (controller, other)]
    with pytest.raises(
        UsageError,
        match=r"^\S+: there is no memory for the step: a device of island left has 100 bytes; the step needs \d+, "
        rf"arrays that are kept there take \d+ \(of which program {other._number} has \d+\); let go of arrays, or give "
        r"the island more memory\n",
    ):
        controller.start(values)
    del kept
    controller.start(values)
    assert controller.stats().stalls == 0
    assert shared.stalls == 1
    shared.close()


# What the controller has to say and to do.


class FakePort:
    """A host that does nothing, and says that it has."""

    numbers = iter(range(10**6, 10**9))

    def __init__(self, tell):
        self.number, self.tell, self.heard = next(self.numbers), tell, []

    def receive(self, message):
        self.heard.append(type(message).__name__)
        if isinstance(message, Load):
            self.tell(Loaded(message.program, self.number, 0))
        elif isinstance(message, Start):
            for name in message.orders:
                self.tell(StepEnded(message.program, message.step, name, Record(message.program, message.step, name)))

    def join(self, patience):
        pass


def calls_of_a_step(islands, devices, hosts):
    """How many functions a step calls in the controller, and what each host hears of it."""
    names = [f"island{number}" for number in range(islands)]
    mesh = jax.sharding.Mesh(numpy.array(jax.devices()[:devices]), ("d",))
    buffer = Buffer((8,), "float32", (("d",),))
    program = Program(
        tuple(IslandProgram(name, (("d", devices),), (buffer,), ()) for name in names),
        (),
        tuple(Input(name, (8,), "float32", donated=True, places=(((name, 0),),)) for name in names),
        tuple(Output(name, (8,), "float32", False, (((name, 0),),)) for name in names),
    )
    ports = []

    def make(meshes, devices, tell):
        ports.extend(FakePort(tell) for _ in range(hosts))
        return {name: ports[number % hosts] for number, name in enumerate(meshes)}

    hosted = HostedIslands(OwnDevices(dict.fromkeys(names, mesh), hosts=make))
    controller = Controller(program, hosted)
    state = controller.put([numpy.zeros(8, "float32")] * islands)
    state = controller.start(state)
    gc.collect()  # nothing of what was before is let go of while calls are counted
    for port in ports:
        port.heard.clear()
    calls = 0

    def count(frame, event, argument):
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        state = controller.start(state)
    finally:
        sys.setprofile(None)
    return calls, [list(port.heard) for port in ports]


def test_one_message_a_host_asks_for_a_step_and_work_grows_with_islands_alone():
    counted = {}
    for islands in (32, 64, 256):
        counted[islands], heard = calls_of_a_step(islands, 1, hosts=8)
        assert heard == [["Start"]] * 8
    per_island = [calls / islands for islands, calls in counted.items()]
    assert max(per_island) <= 1.1 * min(per_island), per_island
    _, heard = calls_of_a_step(64, 1, hosts=64)
    assert heard == [["Start"]] * 64
    assert calls_of_a_step(32, 8, hosts=8)[0] == counted[32]  # devices cost the controller nothing
