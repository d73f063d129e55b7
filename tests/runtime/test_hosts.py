"""What the runtime promises holds wherever its islands are: with a host for each, reached by bytes over sockets, which
are late, overtake each other and come twice; or near."""

import numpy
import pytest
from atoll.compiler.errors import AtollError
from atoll.runtime import ground
from atoll.runtime.controller import Controller
from atoll.runtime.host import Host
from atoll.runtime.messages import Start
from socket_hosts import Wires
from test_controller import *  # noqa: F403 (each of these tests runs here once more)
from test_controller import there_and_back
from test_donation import *  # noqa: F403
from test_feeding import (  # noqa: F401
    test_an_error_is_raised_by_the_results_of_its_step_alone,
    test_the_same_bits_as_an_array,
    test_what_does_not_return_is_waited_for_with_an_end,
)

pytestmark = pytest.mark.own

# Those that look at the one thread that carries all islands of a host.
del test_closing_waits_for_what_runs  # noqa: F821
del test_a_controller_that_is_forgotten_ends_its_threads  # noqa: F821
del test_a_task_that_fails_harms_no_other  # noqa: F821
# Those that count the arrays of the process: a wire's thread may have one on its stack for a moment longer.
del test_fifty_steps_with_donation_take_no_more_memory  # noqa: F821
del test_a_step_that_is_over_keeps_nothing_that_was_let_go_of  # noqa: F821
# Those that wait for seconds, and are about one island.
del test_an_island_may_be_ahead_of_its_devices_for_long  # noqa: F821


@pytest.fixture(autouse=True)
def wires(monkeypatch):
    made = Wires(seed=0)
    monkeypatch.setattr(ground, "one_host", made.make_hosts)
    yield made
    made.close()


def test_messages_are_counted_and_one_a_host_asks_for_a_step(wires, make_train_program, make_meshes, values):
    wires.twice = 1  # which changes nothing
    with Controller(make_train_program(donated=False), make_meshes(), timeout=120) as controller:
        for _ in range(3):
            controller.start(values)
        stats = controller.stats()
    assert not any(host._thread for host in wires.hosts.values()), "a host has more to do"
    # Over each link one value: the activations, and the gradient.
    assert stats.control == {"Start": 2, "StepEnded": 2, "Offer": 2}
    assert wires.sent >= 6


def test_a_message_that_is_lost_is_missed_in_time(wires, make_train_program, make_meshes, values):
    """Whoever waits says for what, and the process goes on."""
    wires.lost = lambda message: isinstance(message, Start) and "right" in message.orders
    controller = Controller(make_train_program(donated=False), make_meshes(), timeout=1)
    *_, loss = controller.start(values)
    with pytest.raises(
        AtollError, match=r"the island does not have the array: .* or the island was never asked to make it"
    ):
        numpy.asarray(loss)
    for _ in range(100):  # a host that has no time to say what its islands do is not waited for
        with pytest.raises(
            AtollError, match=r"step 0 has not ended on islands? (left, )?right after 1 seconds"
        ) as caught:
            controller.stats()
        if "island right has nothing to do" in str(caught.value):
            break
    else:
        pytest.fail("it is never told what the island does")
    with pytest.raises(AtollError, match=r"step 0 has not ended on"):
        controller.close()


def test_hosts_of_one_process_speak_without_wires(monkeypatch, wires, make_code, make_meshes):
    def a_host_each(meshes, devices, tell):
        return {name: Host({name: mesh}, devices, tell) for name, mesh in meshes.items()}

    monkeypatch.setattr(ground, "one_host", a_host_each)
    x = numpy.arange(4, dtype="float32")
    with Controller(there_and_back(make_code, 50), make_meshes(), timeout=120) as controller:
        for _ in range(3):
            numpy.testing.assert_array_equal(controller.start([x])[0], x)
        stats = controller.stats()
        assert (stats.messages, stats.control["Offer"]) == (99, 99)
    assert not wires.sent


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_host_that_fails_says_so_to_whoever_waits(make_train_program, make_meshes, values, monkeypatch):
    """And to whoever asks for more; nobody waits for what never comes."""

    def fail(*_, **__):
        raise RuntimeError("no such thing")

    controller = Controller(make_train_program(donated=False), make_meshes(), timeout=120)
    controller.start(values)
    controller.stats()
    monkeypatch.setattr("atoll.runtime.island.RunningIsland.order", fail)
    *_, loss = controller.start(values)
    sentence = (
        r"^\S+: the host of island (left|right) has failed: RuntimeError: no such thing; this is a defect of atoll"
    )
    for use in (controller.stats, lambda: numpy.asarray(loss), lambda: controller.start(values)):
        with pytest.raises(AtollError, match=sentence):
            use()
    with pytest.raises(AtollError, match=sentence):
        controller.close()
