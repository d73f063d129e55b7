"""The front door with islands in processes of their own, which Ray starts: the same answers, and nothing left behind.

The clusters are made once, as a Ray takes seconds to start.
"""

import os

os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=8")

import json
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from functools import partial

import jax
import jax.numpy as jnp
import numpy
import pytest
import standing_python
import zoo
from atoll.examples.palm import data
from atoll.examples.palm.sizes import TOY
from atoll.runtime.processes import ray_driver
from atoll.runtime.processes.on_ray import environment
from patient import until
from started import command_of, kill_all, left_of, processes_of
from test_cluster import PARAMS, STAGES, X, predict

import atoll

pytestmark = pytest.mark.timeout(600)  # the first test starts two clusters, on a machine that does other things too

TOPOLOGY = """
island a : cpu[2]
island b : cpu[data=2, model=2]
island c : cpu[1]
island d : cpu[1]
island e : cpu[data=2, model=2] in 2 processes
island f : cpu[2] in 2 processes
"""


@pytest.fixture(scope="module", autouse=True)
def compiled_quickly():
    """Here and in the processes, which have this setting of jax's from here: so bits can be compared."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(scope="module")
def running_ray():
    """The address of a Ray that somebody has started, on a machine that says of itself that it is a TPU slice."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    folder = tempfile.mkdtemp(prefix="ray-")  # whose name is short, as Ray asks for
    command = ["ray", "start", "--head", "--block", f"--port={port}", f"--temp-dir={folder}"]
    options = ["--include-dashboard=false", "--disable-usage-stats", "--node-ip-address=127.0.0.1"]
    options += ['--resources={"TPU": 4}', "--labels=ray.io/tpu-slice-name=small,ray.io/tpu-worker-id=0"]
    with subprocess.Popen(
        [sys.executable, "-m", "ray.scripts.scripts", *command[1:], *options],
        stdout=subprocess.DEVNULL,
        env={"RAY_worker_niceness": "0"} | os.environ,  # or its processes wait for all other tests
    ) as ray:
        try:
            wait_for(port)
            yield f"127.0.0.1:{port}"
        finally:
            kill_all(ray.pid)
            shutil.rmtree(folder, ignore_errors=True)


def wait_for(port):
    def answers():
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 10):
            return True
        return False

    until(answers, "Ray answers", seconds=180)


@pytest.fixture(scope="module")
def cluster(running_ray):
    with atoll.Cluster(TOPOLOGY, cluster=running_ray) as made:
        yield made


@pytest.mark.parametrize(
    ("name", "islands"),
    [
        ("transformer", ("e", "f")),
        pytest.param("mixture_of_experts", ("f", "b"), marks=pytest.mark.own),
        ("lstm", ("a", "b", "c", "d")),
        ("many_dtypes", ("c", "e")),
    ],
)
def test_the_same_bits_as_in_one_process(cluster, name, islands):
    """Leaf by leaf, for two steps; and the same messages, also where an island has two processes.

    Those on four islands fold their batch as well.
    """
    case = zoo.CASES[name]()
    is_folded = len(islands) == 4
    options = {
        "islands": islands,
        "plan": atoll.Plan(stages=len(islands), microbatches=2 if is_folded else 1),
        "donate_argnums": case.donate,
        "batch_argnums": case.batch if is_folded else (),
    }
    told = []
    for topology in (TOPOLOGY, cluster):
        with atoll.compile(case.fn, *case.args, topology=topology, **options) as step:
            arguments = zoo.arguments_of(case)
            for _ in range(2):
                results = step(*arguments)
                for number, place in enumerate(case.donate):
                    arguments[place] = results[number]
            stats = step.stats()
            told.append((zoo.leaves(results), stats.bytes_per_link, stats.messages, stats.order, stats.tasks))
    (here, *near), (there, *far) = told
    assert near == far
    for number, (one, other) in enumerate(zip(here, there, strict=True)):
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        assert one.tobytes() == other.tobytes(), f"leaf {number} has other bits"


def test_one_word_is_enough(cluster, tmp_path):
    """For a program alone; and where it was saved, its islands may be those of a cluster."""
    with atoll.compile(predict, PARAMS, X, topology="2 x cpu[1]", plan=STAGES, cluster="ray") as step:
        numpy.testing.assert_allclose(step(PARAMS, X), predict(PARAMS, X), rtol=1e-6)
        with step.trace(tmp_path / "step.pftrace"):
            step(PARAMS, X)
        assert step.report().measured is not None
        found = step(PARAMS, X)
    with pytest.raises(
        atoll.AtollError, match=r"^\S+: island island1 has ended with its cluster.*; read arrays before you close"
    ):
        numpy.asarray(found)
    lowered = atoll.lower(predict, PARAMS, X, topology=cluster.topology.only(("c", "d")), plan=STAGES)
    lowered.save(tmp_path / "predict.atoll")
    with atoll.load(tmp_path / "predict.atoll", topology=cluster) as step:
        numpy.testing.assert_allclose(step(PARAMS, X), predict(PARAMS, X), rtol=1e-6)


def test_programs_share_a_cluster_of_processes(cluster):
    first = atoll.compile(predict, PARAMS, X, topology=cluster, islands=("a", "b"), plan=STAGES)
    second = atoll.compile(lambda h: h * 2, jnp.ones((4, 4)), topology=cluster, islands=("d",))
    found = second(first(PARAMS, X))
    assert found.islands == ("d",)
    numpy.testing.assert_allclose(found, 2 * predict(PARAMS, X), rtol=1e-6)
    assert second.stats().bytes_per_link == {("b", "d"): 64}
    first.close()
    second.close()


def score(table, tokens):
    return table[tokens].sum(axis=1), (table**2).sum()


def test_examples_come_from_the_processes_that_need_them(cluster):
    """Of two replicas each asks for its own microbatches; a function that cannot be there is refused by the call."""
    tokens, table = data.batch(0, TOY), jnp.arange(512.0).reshape(256, 2)
    plan = atoll.Plan(stages=1, replicas=2, microbatches=2)
    with atoll.compile(score, table, tokens, topology=cluster, islands=("c", "d"), plan=plan, batch_argnums=1) as step:
        expected = [numpy.asarray(one).tobytes() for one in step(table, data.batch(1, TOY))]
        found = step(table, atoll.Feed(partial(data.rows, TOY)))
        assert [numpy.asarray(one).tobytes() for one in found] == expected
        with pytest.raises(
            atoll.AtollError,
            match=r"^\S*test_ray.py:\d+: <lambda> cannot be given to the processes of islands, which .*; "
            r"use a function from the top of a module, and no lambda\n",
        ):
            step(table, atoll.Feed(lambda *_: tokens))


def calls_back(x):
    y = jax.pure_callback(numpy.sin, x, x)
    return y * 2


def test_what_cannot_be_is_refused_with_its_remedy(cluster, running_ray, monkeypatch):
    with pytest.raises(
        atoll.TopologyError,
        match=r"^\S*test_ray.py:\d+: the islands need 8 devices of the kind GPU, and Ray has 0; write a smaller",
    ):
        atoll.Cluster("2 x gpu[4] in 2 processes", cluster=running_ray)
    for topology, what in (
        ("2 x v5e[2x2]", "the islands need 8 devices of the kind TPU, and Ray has 4; write a smaller"),
        (
            "island a : v5e[2x2] in 2 processes",
            "island a needs a TPU slice of 2 machines with 2 chips each, and Ray has ",
        ),
        # It was started where its chips are said to be.
        ("1 x v5e[2x2]", "island island0 needs 4 tpu devices, and its process has 0; write a smaller island"),
    ):
        with pytest.raises(atoll.TopologyError, match=rf"^\S*test_ray.py:\d+: {what}"):
            atoll.Cluster(topology, cluster=running_ray)
    with pytest.raises(
        atoll.CompileError,
        match=r"^\S*test_ray.py:\d+: this calls back into Python, so islands in processes of their own cannot run it; "
        r"take the callback out, or leave `cluster` out\n",
    ):
        atoll.compile(calls_back, X, topology=cluster, islands=("a",))
    mesh = jax.sharding.Mesh(numpy.array(jax.devices()[:1]), ("devices",))
    with pytest.raises(
        atoll.TopologyError, match=r"^\S*test_ray.py:\d+: the topology is made of devices of this process"
    ):
        atoll.Cluster(atoll.Topology.from_devices({"a": mesh}), cluster="ray")
    with pytest.raises(
        atoll.AtollError, match=r"^\S*test_ray.py:\d+: the topology is a cluster, .* leave one of them out"
    ):
        atoll.compile(predict, PARAMS, X, topology=cluster, cluster="ray")
    with pytest.raises(atoll.AtollError, match=r"^\S*test_ray.py:\d+: cluster is 5, of type int; write \"ray\", "):
        atoll.Cluster("1 x cpu[1]", cluster=5)
    with pytest.raises(
        atoll.AtollError, match=r"^\S*test_ray.py:\d+: cluster is 'here', which says nowhere .*; write \"ray\""
    ):
        atoll.Cluster("1 x cpu[1]", cluster="here")
    with pytest.raises(
        atoll.AtollError, match=r"^\S*test_ray.py:\d+: watchdog is 0; write a number of seconds above 0\n"
    ):
        atoll.Cluster("1 x cpu[1]", cluster="ray", watchdog=0)
    with pytest.raises(
        atoll.AtollError,
        match=r"^\S*test_ray.py:\d+: ray:// is Ray's client, .*; run this on a machine of the cluster, ",
    ):
        atoll.Cluster("1 x cpu[1]", cluster="ray://localhost:10001")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(
        atoll.TopologyError, match=rf"^\S*test_ray.py:\d+: no Ray answers at 127.0.0.1:{port}; see whether it runs"
    ):
        atoll.Cluster("1 x cpu[1]", cluster=f"127.0.0.1:{port}")
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(atoll.AtollError, match=r"need Ray, which is not installed; .*`pip install 'atoll\[ray\]'`\n"):
        atoll.Cluster("1 x cpu[1]", cluster="ray")


@pytest.mark.own
def test_where_no_ray_runs_it_is_not_rays_own_sentence_that_says_so(monkeypatch):
    def init(**_):
        raise ConnectionError("Could not find any running Ray instance. Please specify the one to connect to by ...")

    monkeypatch.setattr(ray_driver.ray, "init", init)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(ConnectionError, match=r"^none runs on this machine$"):
        ray_driver.Driver("auto")
    with pytest.raises(ConnectionError, match=r"^Could not find"):
        ray_driver.Driver("10.0.0.1:6379")


SCRIPT = """
import os, signal, sys, time
import jax.numpy as jnp, numpy
import atoll

cluster = atoll.Cluster("2 x cpu[1]", cluster="ray")
step = atoll.compile(lambda x: x * 2, jnp.ones(4), topology=cluster, islands=("island1",))
other = atoll.compile(lambda x: x * 3, jnp.ones(4), topology=cluster, islands=("island0",))
(pid,) = cluster.shared.ground.pids["island1"]
assert os.getpriority(os.PRIO_PROCESS, pid) == os.getpriority(os.PRIO_PROCESS, 0)
print(numpy.asarray(step(jnp.ones(4))).sum(), flush=True)
if sys.argv[1] == "killed":
    os.kill(pid, signal.SIGKILL)
    try:
        while True:
            numpy.asarray(step(jnp.ones(4)))
    except atoll.IslandLost as error:
        print(str(error).splitlines()[0])
    print(numpy.asarray(other(jnp.ones(4))).sum(), flush=True)
time.sleep(100)
"""


@pytest.mark.own
@pytest.mark.parametrize("how", ["interrupted", "killed"])
def test_nothing_is_left_behind(how, tmp_path):
    """After Ctrl-C; and when an island was lost and then the controller is killed."""
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    with subprocess.Popen(
        [sys.executable, script, how], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as ran:
        assert ran.stdout.readline() == "8.0\n"
        started = processes_of(ran.pid)
        assert len(started) >= 4, "the islands, and what belongs to Ray"
        assert not [one for one in started if "log_monitor" in command_of(one)], "it reads what nobody has asked for"
        if how == "killed":
            assert "island island1 was lost: its process" in ran.stdout.readline()
            assert ran.stdout.readline() == "12.0\n"
        ran.send_signal(signal.SIGINT if how == "interrupted" else signal.SIGKILL)
        _, errors = ran.communicate(timeout=180)
    assert left_of(started) == []
    assert not [one for one in started if (ray_driver.ROOT / f"{ray_driver.PREFIX}{one}").exists()]
    assert [line for line in errors.splitlines() if line[:1].strip() and "Traceback" not in line] == (
        ["KeyboardInterrupt"] if how == "interrupted" else []
    )


@pytest.mark.own
def test_a_ray_that_nobody_waits_for_any_more_does_not_begin():
    """As after Ctrl-C while it starts."""
    command = [sys.executable, "-m", "atoll.runtime.processes.ray_driver", "ray"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment("ray")) as driver:
        folder = ray_driver.ROOT / f"{ray_driver.PREFIX}{driver.pid}"
        while not (started := processes_of(driver.pid)):
            assert driver.poll() is None
            time.sleep(0.01)
        assert folder.exists()
        driver.stdin.close()
        assert driver.stdout.read() == b"", "it went on until it could answer"
    assert left_of([*started, driver.pid]) == []
    assert not folder.exists()


USES_WHAT_IS_UP = """
import sys, time
import jax.numpy as jnp, numpy
import atoll

with atoll.Cluster("2 x cpu[1]", cluster="up") as cluster:
    step = atoll.compile(lambda x: x * 2, jnp.ones(4), topology=cluster, islands=("island1",))
    print(numpy.asarray(step(jnp.ones(4))).sum(), flush=True)
    time.sleep(float(sys.argv[1]))
"""


@pytest.mark.own
def test_processes_stay_for_the_next_program(running_ray, tmp_path, monkeypatch):
    """Started once, for programs that end, and for one that is killed; at last nothing is left."""
    monkeypatch.setenv("ATOLL_UP", str(tmp_path / "up"))

    def command(*arguments):
        settings = standing_python.settings()
        ran = subprocess.run(["python", "-m", "atoll", *arguments], capture_output=True, text=True, env=settings)
        assert not ran.stderr
        return ran.stdout

    def has(is_used=False):
        """Once that is so and each says what it has, as one that a program has just left may not yet."""
        state, deadline = "serves" if is_used else "waits", time.monotonic() + 180
        while time.monotonic() < deadline:
            found = json.loads(command("status", "--json"))
            processes = found["processes"]
            is_known = all(one["state"] == state and one["has"] is not None for one in processes)
            if is_known and bool(found["guest"]) == is_used:
                told = [(one["pid"], one["has"]["kept"], one["has"]["arrays"]) for one in processes]
                return told, found["guest"], found["pid"]
        raise AssertionError(found)

    assert "2 processes are up for 2 x cpu[1], kept by" in command(
        "up", "--topology", "2 x cpu[1]", "--cluster", running_ray
    )
    ((first, _, _), (second, _, _)), nobody, keeper = has()
    assert nobody is None
    try:
        for _ in range(2):
            ran = subprocess.run([sys.executable, "-c", USES_WHAT_IS_UP, "0"], capture_output=True, text=True)
            assert (ran.stdout, ran.stderr) == ("8.0\n", "")
            assert has() == ([(first, 0, 0), (second, 1, 0)], None, keeper)
        with subprocess.Popen(
            [sys.executable, "-c", USES_WHAT_IS_UP, "100"], stdout=subprocess.PIPE, text=True
        ) as killed:
            assert killed.stdout.readline() == "8.0\n"
            assert has(is_used=True)[1]["pid"] == killed.pid
            killed.kill()
    finally:
        assert command("down", "--force") == "2 processes have ended\n"
    assert left_of([first, second, keeper]) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.own
def test_files_of_a_driver_that_was_killed_are_swept():
    with subprocess.Popen(["true"]) as ended:
        ended.wait()
    folder = ray_driver.ROOT / f"{ray_driver.PREFIX}{ended.pid}"
    folder.mkdir()
    own = ray_driver.ROOT / f"{ray_driver.PREFIX}{os.getpid()}"
    own.mkdir()
    ray_driver.sweep()
    assert (folder.exists(), own.exists()) == (False, True)
    own.rmdir()
