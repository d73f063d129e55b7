"""`atoll run`: jobs, modules at every phase, edited ones too, and saved programs."""

import logging
import re
import subprocess
import sys
from pathlib import Path

import jax
import jax.export
import jax.numpy as jnp
import numpy
import pytest
import standing_python
from atoll.compiler.commands.cli import run_here
from atoll.compiler.commands.example_values import seeded
from atoll.compiler.pipeline.pipeline import PHASES
from atoll.runtime.program import Input
from timed_harness import compiled_quickly  # noqa: F401 (a fixture)

TRAIN = """\
import atoll, jax, jax.numpy as jnp

def step(state, x, key):
    def loss(w):
        with jax.named_scope("one"):
            h = jnp.tanh(x @ w["a"]) * jax.random.bernoulli(key, 0.9, (8,))
        with jax.named_scope("two"):
            return jnp.mean((h @ w["b"] - 3.0) ** 2)

    loss, grads = jax.value_and_grad(loss)(state["w"])
    return {"w": jax.tree.map(lambda p, g: p - 0.1 * g, state["w"], grads), "n": state["n"] + 1}, {"loss": loss}

f = jax.ShapeDtypeStruct
state = {"w": {"a": f((8, 8), "float32"), "b": f((8, 4), "float32")}, "n": jnp.int32(3)}
key = jax.eval_shape(lambda: jax.random.key(0))
job = atoll.Job(step, state, f((6, 8), "float32"), key, donate_argnums=0)

def score(w, x):
    with jax.named_scope("one"):
        h = jnp.tanh(x * 2.0)
    with jax.named_scope("two"):
        return (h * w).sum() + 1.0

small = atoll.Job(score, f((4,), "float32"), f((4,), "float32"))
odd = atoll.Job(lambda x, y: x + y, f((), "bfloat16"), f((2, 3), "complex64"))
mixed = atoll.Job(lambda n, b, k: (n + 1, ~b, jax.random.split(k)), f((3,), "int8"), f((2,), "bool"), key)
static = atoll.Job(lambda n, x: x * n, 3, f((2,), "float32"), static_argnums=0)
wrong = atoll.Job(lambda x: x, "no array")

def adam(state, x):
    # A step of Adam; what is added to all keys alike has a gradient of zero, of which rounding is left.
    def loss(w):
        with jax.named_scope("one"):
            k = x @ w["k"] + w["bias"]
        with jax.named_scope("two"):
            return jnp.mean((jax.nn.softmax(jnp.einsum("bqd,bkd->bqk", x, k)) @ x - 1.0) ** 2)

    loss, grads = jax.value_and_grad(loss)(state)
    return jax.tree.map(lambda p, g: p - 0.1 * g / (jnp.sqrt(g * g) + 1e-8), state, grads), loss

keys = {"k": f((16, 16), "float32"), "bias": jnp.zeros(16)}
attention = atoll.Job(adam, keys, f((16, 17, 16), "float32"), batch_argnums=1)
fails = atoll.Job(lambda x: jax.pure_callback(lambda x: 1 / 0, x, x), f((2,), "float32"))
"""

TOPOLOGY = "--topology=2 x cpu[1]"
PLAN = "--plan=stages='one | two'".replace("'", '"')


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("user")
    (made / "train.py").write_text(TRAIN)
    return made


@pytest.fixture(autouse=True)
def in_folder(folder, monkeypatch):
    monkeypatch.chdir(folder)


@pytest.fixture
def atoll(capsys):
    """Run a command in this process: its exit status, output and errors."""
    root, own = logging.getLogger(), logging.getLogger("atoll.compiler.compiled")
    before = root.handlers[:], root.level, own.level
    path = sys.path[:]

    def run(*arguments):
        status = run_here(arguments)
        told = capsys.readouterr()
        return status, told.out, told.err

    yield run
    root.handlers[:], root.level, own.level = before
    sys.path[:] = path
    sys.modules.pop("__atoll_target__", None)


def losses(out):
    """The last scalar that each step printed."""
    return [float(number) for number in re.findall(r"^step \d+: .*= (\S+) \(\d+ ms\)$", out, re.MULTILINE)]


def test_a_job_runs_is_compared_and_learns(atoll):
    status, out, err = atoll("run", "train.py:job", TOPOLOGY, PLAN, "--steps=3", "--check")
    assert (status, err) == (0, "")
    assert [line.partition(",")[0] for line in out.splitlines()[:3]] == [
        "step 0: result[0]['n'] = 4",
        "step 1: result[0]['n'] = 5",
        "step 2: result[0]['n'] = 6",
    ]
    assert "result[1]['loss'] = " in out
    first, second, third = losses(out)
    assert first > second > third
    assert "tasks: 2 F, 2 B, 2 U; messages: " in out
    assert re.search(r"^island0 -> island1: [\d,]+ bytes$", out, re.MULTILINE)
    assert re.search(r"^check: max relative difference \S+, bit-equal on \d of 4 leaves$", out, re.MULTILINE)


@pytest.mark.parametrize("name", ["small", "odd", "mixed", "static"])
def test_arguments_of_all_kinds(name, atoll):
    status, out, err = atoll("run", f"train.py:{name}", TOPOLOGY, "--check", "--seed=4")
    assert (status, err) == (0, "")
    assert "check: max relative difference 0.0e+00" in out


def test_a_seed_gives_the_same_numbers_again_and_another_does_not(atoll):
    one, again, other = (losses(atoll("run", "train.py:job", TOPOLOGY, f"--seed={seed}")[1]) for seed in (1, 1, 2))
    assert one == again != other


@pytest.mark.one_in(2)
@pytest.mark.parametrize("phase", [phase.name for phase in PHASES])
def test_a_dump_of_every_phase_runs_and_gives_what_the_job_gives(phase, atoll, tmp_path):
    _, text, _ = atoll("dump", "train.py:job", TOPOLOGY, PLAN, "--phase", phase, "--debug-info")
    (tmp_path / "dump.mlir").write_text(text)
    status, out, err = atoll("run", str(tmp_path / "dump.mlir"), "--steps=2")
    assert (status, err) == (0, "")
    assert losses(out) == losses(atoll("run", "train.py:job", TOPOLOGY, PLAN, "--steps=2")[1])


def descend(params, x, y):
    def loss(params):
        return jnp.mean((jnp.tanh(x @ params["a"]) @ params["b"] - y) ** 2)

    loss, gradients = jax.value_and_grad(loss)(params)
    return jax.tree.map(lambda p, g: p - 0.1 * g, params, gradients), loss


DESCEND = {"a": jnp.ones((8, 8)), "b": jnp.ones((8, 4))}, jnp.ones((6, 8)), jnp.ones((6, 4))


@pytest.mark.parametrize(
    ("name", "batch", "loss"), [("text.mlir", "arg[2..3]", "result[2]"), ("artifact.jax_export", "x,y", "result[1]")]
)
def test_what_jax_writes_runs_as_it_is(name, batch, loss, atoll):
    """Text without locations has no names and no roles; a file of `jax.export` has both."""
    jitted = jax.jit(descend, donate_argnums=0)
    if name == "text.mlir":
        Path(name).write_text(jitted.lower(*DESCEND).as_text())
    else:
        Path(name).write_bytes(jax.export.export(jitted)(*DESCEND).serialize())
    plan = "--plan=stages=2, microbatches=3, schedule=1f1b"
    status, out, err = atoll("run", name, f"--batch={batch}", TOPOLOGY, plan, "--check", "--steps=2")
    assert (status, err) == (0, "")
    assert f"step 1: {loss} = " in out
    first, second = losses(out)
    assert first > second, "the results of the first step are the arguments of the second"
    assert "6 F, 6 B, 2 U" in out
    assert "check: max relative difference" in out


def test_a_module_of_wide_numbers_runs_as_it_is(atoll):
    """In a process of its own, as it makes jax keep them."""
    Path("wide.mlir").write_text(
        "func.func @main(%x: tensor<4xf64>, %n: tensor<i64>) -> (tensor<4xf64>, tensor<i64>) {\n"
        "  %0 = stablehlo.add %x, %x : tensor<4xf64>\n  %1 = stablehlo.add %n, %n : tensor<i64>\n"
        "  return %0, %1 : tensor<4xf64>, tensor<i64>\n}\n"
    )
    command = ["atoll", "run", "wide.mlir", TOPOLOGY, "--check"]
    ran = subprocess.run(command, env=standing_python.settings(), capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "bit-equal on 2 of 2 leaves" in ran.stdout


def score(factor=2.0):
    """What the job `small` computes from the seeded arguments."""
    w, x = (seeded(Input(path, (4,), "float32"), 0) for path in ("w", "x"))
    return float((numpy.tanh(x * numpy.float32(factor)) * w).sum() + 1)


@pytest.fixture
def edited(atoll, tmp_path):
    """The dump of a phase after an edit: a function from its text to another."""

    def edit(phase, change):
        _, text, _ = atoll("dump", "train.py:small", TOPOLOGY, PLAN, "--phase", phase)
        changed = change(text)
        assert changed != text
        (tmp_path / f"{phase}.mlir").write_text(changed)
        return str(tmp_path / f"{phase}.mlir")

    return edit


@pytest.mark.one_in(3)
# From `staged` on: before it stages are found by scopes, which a dump without locations does not have.
@pytest.mark.parametrize("phase", [phase.name for phase in PHASES if phase.name not in ("stablehlo", "timed")])
def test_another_constant_in_a_dump_gives_another_answer(phase, atoll, edited):
    path = edited(phase, lambda text: text.replace("dense<2.000000e+00>", "dense<5.000000e+00>"))
    status, out, _ = atoll("run", path)
    assert status == 0
    assert losses(out) == [pytest.approx(score(5.0), rel=1e-5)]
    assert score(5.0) != pytest.approx(score(), rel=1e-3)


def test_an_operation_moved_to_another_stage_runs_there(atoll, edited):
    path = edited("staged", lambda text: re.sub(r"(stablehlo.tanh .*atoll.stage = )0", r"\g<1>1", text))
    status, out, _ = atoll("run", path)
    assert status == 0
    assert losses(out) == [pytest.approx(score(), rel=1e-5)]
    _, placed, _ = atoll("dump", path, "--phase=placed")
    assert placed.index("island1") < placed.index("stablehlo.tanh")
    assert 'mpmd.fragment<mesh="island1"' in placed[: placed.index("stablehlo.tanh")]


def test_an_operation_moved_to_where_it_cannot_be_is_refused(atoll, edited):
    path = edited("staged", lambda text: re.sub(r"(stablehlo.multiply .*atoll.stage = )0", r"\g<1>1", text, count=1))
    status, out, err = atoll("run", path)
    assert (status, out) == (1, "")
    assert "needs a value of stage 1 in sweep 0, which comes later; move it to a later sweep" in err


def test_a_renamed_fragment_runs(atoll, edited, tmp_path):
    path = edited("scheduled", lambda text: re.sub(r"@(?!main\b)(\w+)", r"@my_\1", text))
    status, out, _ = atoll("run", path, f"--save={tmp_path / 'mine.atoll'}")
    assert status == 0
    assert losses(out) == [pytest.approx(score(), rel=1e-5)]
    assert losses(atoll("run", str(tmp_path / "mine.atoll"))[1]) == losses(out)


def test_a_module_at_stablehlo_is_compared_with_itself_in_one_piece(atoll, tmp_path):
    _, text, _ = atoll("dump", "train.py:job", "--phase=stablehlo", "--debug-info")
    (tmp_path / "whole.mlir").write_text(text)
    status, out, _ = atoll("run", str(tmp_path / "whole.mlir"), TOPOLOGY, PLAN, "--check", "--steps=2")
    assert status == 0
    assert "of 4 leaves" in out


def test_a_saved_program_runs_where_its_job_is_not(atoll, tmp_path):
    saved, page = tmp_path / "step.atoll", tmp_path / "step.html"
    status, out, _ = atoll("run", "train.py:job", TOPOLOGY, PLAN, f"--save={saved}", "--steps=2", f"--view={page}")
    assert out.endswith(f"view: {page}\n")
    assert page.read_text().startswith("<!doctype html>")
    assert status == 0
    sys.modules.pop("__atoll_target__")
    status, again, _ = atoll("run", str(tmp_path / "step.atoll"), "--steps=2")
    assert status == 0
    assert losses(again) == losses(out)
    other = "--topology=island island0 : cpu[1]; island island1 : cpu[1]; link island0 <-> island1 : 1 GB/s, 1 ms"
    assert losses(atoll("run", str(tmp_path / "step.atoll"), "--steps=2", other)[1]) == losses(out)


MESHED = """\
import atoll, jax

with jax.set_mesh(jax.make_mesh((2,), ("data",), devices=jax.devices()[:2])):
    x = jax.device_put(jax.numpy.ones(4), jax.P("data"))
    typed = atoll.Job(lambda x: jax.sharding.reshard(x * 2.0, jax.P(None)), x)
bare = atoll.Job(lambda x: jax.lax.with_sharding_constraint(x, jax.P("data")), jax.ShapeDtypeStruct((4,), "float32"))
"""


@pytest.mark.parametrize("name", ["typed", "bare"])
def test_check_runs_jax_on_the_mesh_of_the_function(atoll, folder, name):
    (folder / "meshed.py").write_text(MESHED)
    status, out, err = atoll("run", f"meshed.py:{name}", "--topology=1 x cpu[data=2]", "--check")
    assert (status, err) == (0, "")
    assert "check: max relative difference 0.0e+00" in out


def test_check_fails_for_another_answer(atoll, monkeypatch):
    # jax.jit is given other numbers than the islands: as if they computed something else.
    monkeypatch.setattr("atoll.compiler.commands.run._to_jax", lambda value: numpy.asarray(value) + 1)
    status, out, err = atoll("run", "train.py:small", TOPOLOGY, "--check")
    assert status == 1
    assert "bit-equal on 0 of 1 leaves" in out
    assert re.fullmatch(
        r"error: result of step 0 differs from jax.jit by \S+, more than 1e-05, and other last bits in the arguments "
        r"move it by \S+; this is a defect; please report it\n  see docs/errors.md#defects\n",
        err,
    )


def test_rounding_that_adam_makes_large_is_no_defect(atoll):
    plan = "--plan=stages=2, microbatches=4, schedule=1f1b"
    status, out, err = atoll("run", "train.py:attention", TOPOLOGY, plan, "--check")
    assert (status, err) == (0, "")
    assert re.search(r"^check: max relative difference \S+e-0[6-9], bit-equal on . of 3 leaves$", out, re.MULTILINE)
    assert "check: one more leaf is as far from jax.jit as its own results move with the last bits" in out
    assert re.search(r"^ +result\[0\]\['bias'\] of step 0 by \S+, which moves by \S+$", out, re.MULTILINE)


def test_a_function_that_fails_while_it_is_checked_is_told_of_by_the_users_line(atoll):
    status, _, err = atoll("run", "train.py:fails", TOPOLOGY, "--check")
    line = 1 + TRAIN.splitlines().index(next(one for one in TRAIN.splitlines() if one.startswith("fails")))
    assert status == 1
    told = next(one for one in err.splitlines() if one.startswith("error: "))
    assert f"train.py:{line}: task F0" in told
    assert "division by zero" in told


def test_progress_is_told_where_it_is_asked_for(atoll):
    _, _, err = atoll("run", "train.py:small", TOPOLOGY, "--verbose")
    lines = err.splitlines()
    for line in (
        "phase staged took",
        "phase scheduled took",
        "compiling 2 fragments for 2 islands",
        "2 fragments took",
    ):
        assert any(one.startswith(line) for one in lines)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["train.py:job"], 'no topology is given; name the islands: --topology "2 x cpu[1]"'),
        (["train.txt"], "'train.txt' is no target; write FILE.py:NAME"),
        (["train.py:jb", TOPOLOGY], "train.py: there is no 'jb'; did you mean 'job'?"),
        (["train.py:wrong", TOPOLOGY], "x is a str, which jax does not take for an array"),
        (["train.py:job", TOPOLOGY, "--plan=replicas=3"], "the plan asks for 3 replicas, and 2 islands cannot"),
        (["train.py:job", TOPOLOGY, "--steps=0"], "--steps is 0; it must be at least 1"),
        (["train.py:job", TOPOLOGY, "--seed=-1"], "--seed is -1; it must be at least 0"),
        (["train.py:job", "--topology=99 x cpu[1]"], "the topology needs 99 cpu devices, and there are 8"),
        (
            ["train.py:small", TOPOLOGY, "--save=no/such/folder"],
            "cannot write no/such/folder: No such file or directory",
        ),
        (["nothing.atoll"], "cannot read nothing.atoll: No such file or directory"),
        (["nothing.mlir"], "nothing.mlir: cannot read: No such file or directory"),
        (["train.atoll"], "train.atoll is no saved atoll program; name a file that save() wrote"),
        (["small.atoll", "--plan=stages=2"], "small.atoll: a saved program has its plan; leave --plan out"),
        (["small.atoll", "--check"], "small.atoll: --check cannot be done: a saved program has no function"),
        (["small.atoll", "--topology=3 x cpu[1]"], "it has island0, island1, the topology island0, island1, island2"),
        (["whole.mlir"], 'the module has no topology; give one: --topology "2 x cpu[4]"'),
        (["placed.mlir", "--plan=stages=2"], "--plan: the module is at phase placed, cut by the plan that it has"),
        (["placed.mlir", "--topology=2 x cpu[2]"], "island0 is cpu[1] in the program and cpu[2] in the topology"),
        (["placed.mlir", "--check"], "it is cut up at phase placed; run the job, or a module at stablehlo"),
    ],
)
def test_a_mistake_is_one_sentence(arguments, sentence, atoll):
    if not Path("placed.mlir").exists():
        Path("train.atoll").write_text("nonsense")
        Path("placed.mlir").write_text(atoll("dump", "train.py:small", TOPOLOGY, "--phase=placed")[1])
        Path("whole.mlir").write_text(atoll("dump", "train.py:small", "--phase=stablehlo")[1])
        assert atoll("run", "train.py:small", TOPOLOGY, "--save=small.atoll")[0] == 0
    status, _, err = atoll("run", *arguments)
    assert status == 1
    assert sentence in err
    assert err.startswith("error: ")
    assert "Traceback" not in err


def test_the_devices_are_made_though_the_users_file_uses_jax(folder):
    command = ["atoll", "run", "train.py:job", "--topology=3 x cpu[2]", "--check"]
    ran = subprocess.run(
        command, cwd=folder, env=standing_python.settings(), capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert "bit-equal on" in ran.stdout


def test_arguments_that_no_machine_holds_are_not_drawn(atoll):
    Path("huge.py").write_text(
        "import jax, atoll\njob = atoll.Job(lambda x: x[0], jax.ShapeDtypeStruct((1 << 50,), 'float32'))\n"
    )
    status, _, errors = atoll("run", "huge.py:job", TOPOLOGY)
    assert status == 1
    assert "its arguments take 4194304.0 GiB, and this machine has" in errors
    assert "run a smaller job" in errors
