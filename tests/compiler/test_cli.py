"""The commands as a user meets them: every mistake is one sentence, with place and remedy, and exit status 1."""

import logging
import os
import re
import signal
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
import standing_python
from atoll.compiler import activity, guard
from atoll.compiler.commands.cli import run_here
from atoll.compiler.mlir.bindings import ir
from atoll.compiler.mlir.ir_text import parse_file

ROOT = Path(__file__).resolve().parents[2]

GOOD = """\
func.func @main(%x: tensor<4xf32> {atoll.path = "x"}) -> (tensor<4xf32> {atoll.path = "result"}) {
  %y = call @f(%x) : (tensor<4xf32>) -> tensor<4xf32>
  return %y : tensor<4xf32>
}
func.func private @f(%x: tensor<4xf32>) -> tensor<4xf32> {
  %y = stablehlo.negate %x : tensor<4xf32>
  return %y : tensor<4xf32>
}
"""

PLAIN = """\
func.func @main(%x: tensor<4xf32>, %s: tensor<f32>, %y: tensor<2xf32>) -> (tensor<4xf32>, tensor<f32>, tensor<2xf32>) {
  return %x, %s, %y : tensor<4xf32>, tensor<f32>, tensor<2xf32>
}
"""

TRAIN = """\
import atoll
import jax
import jax.numpy as jnp

print("loading")
X = jax.ShapeDtypeStruct((4, 3), "float32")

def step(w, x):
    print("tracing")
    return w - jax.grad(lambda w: jnp.sum(jnp.where(x > 0, x @ w, 0.0)))(w)

def fails(x):
    return x @ jnp.ones((5, 5))

job = atoll.Job(step, jax.ShapeDtypeStruct((3, 3), "float32"), X, batch_argnums=1)
failing = atoll.Job(fails, X)
no_array = atoll.Job(step, {"w": "text"}, X)
aborting = atoll.Job(lambda x: __import__("os").abort(), X)
not_a_job = step
"""

FLAX = """\
import atoll
import flax.linen as nn
import jax
import jax.numpy as jnp

class Model(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Dense(8)(x))
        return nn.Dense(3)(x)

model = Model()
X = jax.ShapeDtypeStruct((4, 3), "float32")
PARAMS = jax.eval_shape(model.init, jax.random.key(0), X)

def step(params, x):
    gradients = jax.grad(lambda params: jnp.sum(model.apply(params, x) ** 2))(params)
    return jax.tree.map(lambda p, g: p - g, params, gradients)

job = atoll.Job(step, PARAMS, X, batch_argnums=1)
"""

FILES = {
    "good.mlir": GOOD,
    "malformed.mlir": GOOD.replace("negate %x", "negate %z"),
    "invalid.mlir": GOOD.replace("return %y : tensor<4xf32>\n}\n", "return\n}\n", 1),
    "truncated.mlir": GOOD[:150],
    "empty.mlir": "",
    "unknown_phase.mlir": 'module attributes {atoll.phase = "zzz"} {' + GOOD + "}",
    "recursive.mlir": GOOD.replace(
        "stablehlo.negate %x : tensor<4xf32>", "call @f(%x) : (tensor<4xf32>) -> tensor<4xf32>"
    ),
    "hlo.mlir": "HloModule jit_f\n\nENTRY main { ROOT x = f32[] parameter(0) }\n",
    "mhlo.mlir": GOOD.replace("return %y", "%z = mhlo.negate %x : tensor<4xf32>\n  return %y", 1).replace(
        "%y = call @f(%x) : (tensor<4xf32>) -> tensor<4xf32>\n  ", ""
    ),
    "plain.mlir": PLAIN,
    "dynamic.mlir": "func.func @main(%x: tensor<?xf32>) -> tensor<?xf32> {\n  return %x : tensor<?xf32>\n}\n",
    "phase.mlir": 'module attributes {atoll.phase = "stablehlo"} {\n' + GOOD + "}",
    "train.py": TRAIN,
    "flax_model.py": FLAX,
    "syntax.py": "import atoll\ndef f(:\n",
    "raises.py": "import atoll\n\nx = 1 / 0\n",
    "exits.py": "import sys\nsys.exit(3)\n",
    "imports.py": "import no_such_module\n",
    "bad_job.py": "import atoll\njob = atoll.Job(3)\n",
    "aborts.py": "import os\nos.abort()\n",
    "empty.py": "",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("user")
    for name, text in FILES.items():
        (made / name).write_text(text)
    (made / "garbage.mlir").write_bytes(bytes(range(128, 256)) * 20)
    (made / "cut.mlirbc").write_bytes(b"ML\xefR\rStableHLO_v1.15.0\x00\x01aaaa")
    (made / "bytecode.mlir").write_bytes(b"ML\xefR\x0dgarbage")
    (made / "folder.mlir").mkdir()
    (made / "folder.py").mkdir()
    (made / "loop.mlir").symlink_to("loop.mlir")
    return made


@pytest.fixture(autouse=True)
def in_folder(folder, monkeypatch):
    monkeypatch.chdir(folder)


@pytest.fixture
def atoll(capsys):
    """Run a command in this process: its exit status, output and errors."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    path = sys.path[:]

    def run(*arguments):
        status = run_here(arguments)
        told = capsys.readouterr()
        return status, told.out, told.err

    yield run
    root.handlers[:], _ = before
    root.setLevel(before[1])
    sys.path[:] = path
    sys.modules.pop("__atoll_target__", None)


def in_process_of_its_own(*arguments, **options):
    command = ["atoll", *arguments]
    settings = standing_python.settings()
    return subprocess.run(command, capture_output=True, text=True, timeout=250, check=False, env=settings, **options)


LONG = "x" * 300

MISTAKES = [
    # Files.
    (("opt", "nowhere.mlir"), "nowhere.mlir: cannot read: No such file or directory; name a file of MLIR text"),
    (("opt", "folder.mlir"), "folder.mlir: cannot read: it is a folder; name a file"),
    (("opt", "loop.mlir"), "loop.mlir: cannot read: Too many levels of symbolic links; name a file"),
    (("opt", "good.mlir/x.mlir"), "good.mlir/x.mlir: cannot read: Not a directory; name a file"),
    (("opt", LONG), f"{LONG}: cannot read: File name too long; name a file"),
    (
        ("opt", "--verify-diagnostics", "nowhere.mlir"),
        "nowhere.mlir: cannot read: No such file or directory; name a file",
    ),
    (("opt",), "no file is given; name a file of MLIR text, or - for standard input"),
    (("opt", "good.mlir", "-o", "nowhere/out.mlir"), "nowhere/out.mlir: cannot write: No such file or directory; name"),
    (("opt", "good.mlir", "-o", "folder.mlir"), "folder.mlir: cannot write: Is a directory; name"),
    (
        ("opt", "good.mlir", "--passes", "cse", "--dump-dir", "good.mlir"),
        "good.mlir: cannot write IR here: File exists; name",
    ),
    (
        ("opt", "good.mlir", "--passes", "cse", "--dump-dir", "."),
        ".: good.mlir would be overwritten; name another folder",
    ),
    # IR.
    (("opt", "malformed.mlir"), "malformed.mlir:6:25: use of undeclared SSA value name; correct the IR there"),
    (("opt", "invalid.mlir"), "invalid.mlir:3:3: 'func.return' op has 0 operands, but enclosing function"),
    (("opt", "truncated.mlir"), "truncated.mlir:2:"),
    (
        ("opt", "garbage.mlir"),
        "garbage.mlir:1:1: unexpected character; give MLIR, as text or bytecode, or a file of jax.export",
    ),
    (("opt", "bytecode.mlir"), "bytecode.mlir: "),
    (
        ("opt", "hlo.mlir"),
        "hlo.mlir:1:1: custom op 'HloModule' is unknown (tried 'builtin.HloModule' as well); this is HLO",
    ),
    (("opt", "mhlo.mlir"), "mhlo.mlir:2:8: Dialect `mhlo' not found for custom op 'mhlo.negate'; give StableHLO, as"),
    (("opt", "cut.mlirbc"), "cut.mlirbc: attempting to parse 48 bytes when only 3 remain; write the file again, whole"),
    (("opt", "garbage.mlir", "--split-input-file"), "garbage.mlir: not text: byte 0 is no UTF-8; "),
    (
        ("opt", "empty.mlir", "--passes", "normalize"),
        "empty.mlir: pass mark-arguments: the module has no function @main; name",
    ),
    (("opt", "recursive.mlir", "--passes", "normalize"), "recursive.mlir:6: pass inline-calls: @f calls itself; write"),
    # Pipelines.
    (("opt", "good.mlir", "--passes", "sce"), "pass pipeline, line 1, column 1: there is no pass 'sce'; did you mean"),
    (("opt", "good.mlir", "--passes", "cse,, cse"), "pass pipeline, line 1, column 5: unexpected ','; expected"),
    (("opt", "good.mlir", "--passes", "cse{"), "pass pipeline, line 1, column 5: unexpected end of the text; expected"),
    (
        ("opt", "good.mlir", "--passes", "normalize{x=1}"),
        "pass pipeline, line 1, column 11: normalize is a phase and takes no",
    ),
    (
        ("opt", "good.mlir", "--passes", "inline-calls{x=1}"),
        "pass pipeline, line 1, column 14: inline-calls has no option 'x'",
    ),
    (
        ("opt", "good.mlir", "--passes", "canonicalize{max-iterations=soon}"),
        "pass pipeline, line 1, column 1: canonicalize: for the --max-iterations option: 'soon' value invalid",
    ),
    (("opt", "good.mlir", "--passes", "inline"), "pass pipeline, line 1, column 1: inline is refused; it leaves"),
    (
        ("opt", "good.mlir", "--print-ir-after", "cse"),
        "--print-ir-after: the pipeline has no pass 'cse'; known are all",
    ),
    # Targets.
    (("dump", "nowhere.py:job"), "nowhere.py: cannot read: No such file or directory; write FILE.py:NAME"),
    (("dump", "nowhere.mlir"), "nowhere.mlir: cannot read: No such file or directory; name a file"),
    (("dump", "folder.py:job"), "folder.py: cannot read: it is a folder; write FILE.py:NAME"),
    (("dump", f"{LONG}.py:job"), f"{LONG}.py: cannot read: File name too long; write FILE.py:NAME"),
    (("dump", "train.py"), "train.py: a file is named, and none of its jobs; write train.py:NAME"),
    (("dump", "nowhere.py"), "nowhere.py: cannot read: No such file or directory; write FILE.py:NAME"),
    (
        ("dump", ""),
        "'' is no target; write FILE.py:NAME, a job in a Python file, or MODULE:NAME, one of a module that is ",
    ),
    (("dump", "train.txt:job"), "'train.txt:job' is no target; write FILE.py:NAME"),
    (("dump", "json.nowhere:job"), "'json.nowhere:job' is no target; write FILE.py:NAME"),
    (("dump", "train.py:jub"), "train.py: there is no 'jub'; did you mean 'job'?"),
    (("dump", "train.py:"), "train.py: there is no ''; known are job, failing"),
    (("dump", "train.py:not_a_job"), "train.py: not_a_job is of type function, not an atoll.Job; known are job"),
    (("dump", "empty.py:job"), "empty.py: there is no 'job'; write job = atoll.Job(fn, *args)"),
    (("dump", "syntax.py:job"), "{folder}/syntax.py:2: SyntaxError: "),
    (
        ("dump", "raises.py:job"),
        "{folder}/raises.py:3: ZeroDivisionError while the file was loaded: division by zero; correct",
    ),
    (("dump", "exits.py:job"), "{folder}/exits.py:2: the file called sys.exit(3) while it was loaded; put"),
    (
        ("dump", "imports.py:job"),
        "{folder}/imports.py:1: ModuleNotFoundError while the file was loaded: No module named",
    ),
    (("dump", "bad_job.py:job"), "{folder}/bad_job.py:2: a job needs a function, not int; pass the function first"),
    (("dump", "train.py:failing"), "{folder}/train.py:13: fails cannot be traced: TypeError: "),
    (
        ("dump", "train.py:no_array"),
        "{folder}/train.py:17: w['w'] is a str, which jax does not take for an array; pass",
    ),
    # What is asked for.
    (("dump", "train.py:job", "--topology", "2 x potato[4]"), "topology text, line 1, column 5: "),
    (("dump", "train.py:job", "--topology", "2 x cpu[0]"), "topology text, line 1, column "),
    (("dump", "train.py:job", "--topology", "0 x cpu[4]"), "topology text, line 1, column 1: "),
    (
        ("dump", "train.py:job", "--topology", "island a : cpu[1]\nisland b : gpu[1]"),
        "the topology mixes islands of platforms",
    ),
    (("dump", "train.py:job", "--plan", "stages=none"), "plan text, line 1, column "),
    (("dump", "train.py:job", "--phase", "stablehol"), "there is no phase 'stablehol'; did you mean 'stablehlo'?"),
    (("dump", "good.mlir", "--phase", "stablehlo", "--after", "inline-cells"), "no pass 'inline-cells' runs here; did"),
    (
        ("dump", "good.mlir", "--after", "inline-cells"),
        "no pass 'inline-cells' runs here; did you mean 'inline-calls'?",
    ),
    (("dump", "unknown_phase.mlir"), "there is no phase 'zzz'; known are stablehlo"),
    (("dump", "good.mlir", "--all", "train.py"), "train.py: cannot write IR here: File exists; name a folder"),
    (("dump", "good.mlir", "--all", "."), ".: good.mlir would be overwritten; name another folder"),
    # What files of StableHLO do not say.
    (
        ("dump", "plain.mlir", "--batch", "y"),
        "plain.mlir:1: pass mark-arguments: no argument is called 'y'; known are arg0",
    ),
    (
        ("dump", "plain.mlir", "--batch", "arg1"),
        "plain.mlir:1: pass verify-stablehlo: arg1 carries the batch but has no",
    ),
    (
        ("dump", "plain.mlir", "--batch", "arg0,arg2"),
        "plain.mlir:1: pass verify-stablehlo: the batch has 4 examples in arg0 and 2 in arg2",
    ),
    (("dump", "dynamic.mlir"), "dynamic.mlir:1: pass mark-arguments: argument 0 of @main has no fixed shape"),
    (
        ("dump", "phase.mlir", "--batch", "x"),
        "phase.mlir: --batch has no effect: the module is at phase stablehlo, and has its marks; leave it out",
    ),
    (
        ("dump", "train.py:job", "--donate", "w"),
        "train.py:job: --donate has no effect: a job says it by itself; leave it out",
    ),
    (
        ("dump", "empty.mlir", "--donate", "w"),
        "empty.mlir: pass mark-arguments: the module has no function @main; name",
    ),
]


@pytest.mark.parametrize(("arguments", "sentence"), MISTAKES)
def test_a_mistake_is_one_sentence_with_place_and_remedy(arguments, sentence, atoll, folder):
    status, output, errors = atoll(*arguments)
    errors = errors.replace("loading\n", "").replace("tracing\n", "")
    assert status == 1
    assert output == ""
    first, *excerpt = errors.splitlines()
    assert first.startswith("error: " + sentence.format(folder=folder)), errors
    assert ";" in first, "the remedy is missing"
    assert "internal error" not in errors
    assert "Traceback" not in errors
    assert all(line.startswith("  ") for line in excerpt), errors


def test_debug_shows_the_traceback(atoll):
    status, _, errors = atoll("dump", "train.py:failing", "--debug")
    assert status == 1
    assert "Traceback (most recent call last)" in errors
    assert "dot_general requires" in errors
    assert errors.splitlines()[-4].startswith("error: ")
    status, _, errors = atoll("opt", "malformed.mlir", "--debug")
    assert status == 1
    assert "Traceback" in errors


def test_a_file_that_may_not_be_read(atoll, folder):
    secret = folder / "secret.mlir"
    secret.write_text(GOOD)
    secret.chmod(0)
    if os.access(secret, os.R_OK):
        pytest.skip("this user may read everything")
    status, _, errors = atoll("opt", "secret.mlir")
    assert (status, errors.partition(";")[0]) == (1, "error: secret.mlir: cannot read: Permission denied")


def test_a_defect_of_ours_is_a_sentence_too(atoll, monkeypatch):
    def broken(options):
        raise ValueError("lost\nand more")

    monkeypatch.setattr("atoll.compiler.commands.opt.run", broken)
    assert atoll("opt", "good.mlir") == (
        1,
        "",
        "error: internal error, ValueError: lost; this is a defect of atoll; please report it with --debug\n"
        "  see docs/errors.md#defects\n",
    )


# What the commands print


def test_dump_prints_the_ir_and_nothing_else(atoll):
    status, output, errors = atoll("dump", "train.py:job", "--phase", "stablehlo")
    assert status == 0
    assert output.startswith("module @jit_step attributes {atoll.phase = ")
    assert errors == "loading\ntracing\n", "what the user's file prints must not end up in the IR"
    assert "call" not in output


@pytest.mark.parametrize(
    ("target", "line"), [("flax_model.py:job", 9), ("flax_model.py:job", 10), ("train.py:job", 10)]
)
def test_dump_with_debug_info_shows_the_users_file_and_line(target, line, atoll, folder):
    status, output, _ = atoll("dump", target, "--phase", "stablehlo", "--debug-info")
    assert status == 0
    assert f'"{folder / target.partition(":")[0]}":{line}:' in output


def test_dump_stops_after_a_pass(atoll):
    _, before, _ = atoll("dump", "good.mlir", "--after", "inline-calls")
    assert "@f" in before
    _, after, _ = atoll("dump", "good.mlir", "--after", "symbol-dce")
    assert "@f" not in after


def test_dump_all_writes_numbered_files_and_each_can_be_resumed(atoll, tmp_path):
    out = tmp_path / "new" / "out"
    status, output, _ = atoll(
        "dump",
        "train.py:job",
        "--phase",
        "stablehlo",
        "--all",
        str(out),
        "--topology",
        "2 x cpu[1]",
        "--plan",
        "stages=2",
    )
    assert status == 0
    files = sorted(out.iterdir())
    assert output.split() == [str(file) for file in files]
    assert files[0].name == "00-input.mlir"
    assert [file.name.partition("-")[0] for file in files] == [f"{index:02d}" for index in range(len(files))]
    final = files[-1].read_text()
    assert 'atoll.plan = "stages=2,' in final
    for file in files:
        status, resumed, errors = atoll("dump", str(file), "--phase", "stablehlo")
        assert (status, errors) == (0, "")
        assert resumed == final


def test_what_a_plan_leaves_open_is_decided_anew_for_other_islands(atoll, tmp_path):
    timed = tmp_path / "timed.mlir"
    given = (("good.mlir",), (str(timed), "--topology", "3 x cpu[1]"), (str(timed), "--topology", "2 x cpu[1]"))
    for arguments, stages in zip(given, ("auto", 3, 2), strict=True):
        status, text, errors = atoll("dump", *arguments, "--phase", "timed")
        assert (status, errors) == (0, "")
        assert f'atoll.plan = "stages={stages}, microbatches=1, ' in text
        timed.write_text(text)


def test_dump_all_replaces_an_earlier_dump_and_leaves_other_files(atoll, tmp_path):
    (tmp_path / "07-old.mlir").write_text("old")
    (tmp_path / "notes.txt").write_text("mine")
    assert atoll("dump", "good.mlir", "--phase", "stablehlo", "--all", str(tmp_path))[0] == 0
    assert not (tmp_path / "07-old.mlir").exists()
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_an_edited_dump_is_checked_again(atoll, tmp_path):
    _, text, _ = atoll("dump", "good.mlir", "--phase", "stablehlo")
    edited = tmp_path / "edited.mlir"
    edited.write_text(text.replace('atoll.path = "result"', ""))
    status, _, errors = atoll("dump", str(edited), "--phase", "stablehlo")
    assert status == 1
    assert "pass verify-stablehlo: result 0 of @main has no atoll.path" in errors


@pytest.mark.parametrize("topology", ["2 x gpu[2]", "2 x v4[2x2x1]"])
def test_dump_needs_no_devices_of_the_topology(topology, atoll):
    status, output, _ = atoll("dump", "train.py:job", "--phase", "stablehlo", "--topology", topology)
    assert status == 0
    assert f'atoll.topology = "{topology}"' in output


def test_opt_reads_standard_input():
    done = in_process_of_its_own("opt", "-", "--passes", "inline-calls, symbol-dce", input=GOOD)
    assert (done.returncode, done.stderr) == (0, "")
    assert "stablehlo.negate" in done.stdout
    bad = in_process_of_its_own("opt", "-", input="func.func @f( {")
    assert bad.stderr.startswith("error: <stdin>:1:14: expected")


def test_opt_reads_a_pipe(folder):
    command = f"{sys.executable} -m atoll opt <(cat good.mlir)"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True, cwd=folder)
    assert "stablehlo.negate" in done.stdout


def test_opt_tells_each_broken_module_and_goes_on(atoll, tmp_path):
    file = tmp_path / "several.mlir"
    file.write_text(f"{GOOD}\n// -----\nbroken\n// -----\n{GOOD.replace('@main', '@second')}")
    status, output, errors = atoll("opt", str(file), "--split-input-file")
    assert status == 1
    assert errors.startswith(f"error: {file}:11:1: ")
    assert "@main" in output
    assert "@second" in output


def test_opt_goes_on_after_a_plan_that_does_not_fit(atoll, tmp_path):
    file = tmp_path / "several.mlir"
    planned = 'module attributes {atoll.plan = "microbatches=2"} { func.func @main() { return } }'
    file.write_text(f"{planned}\n// -----\n{GOOD}")
    status, output, errors = atoll("opt", str(file), "--split-input-file", "--passes", "fold-batch")
    assert status == 1
    assert "the plan asks for 2 microbatches, and no argument that is used carries the batch" in errors
    assert "stablehlo.negate" in output


def test_opt_writes_every_step(atoll, tmp_path):
    _, _, errors = atoll("opt", "good.mlir", "--passes", "inline-calls, cse", "--print-ir-after", "all")
    assert re.findall(r"IR after (\S+)", errors) == ["inline-calls", "cse"]
    _, _, errors = atoll("opt", "good.mlir", "--passes", "inline-calls, cse", "--print-ir-after", "cse")
    assert re.findall(r"IR after (\S+)", errors) == ["cse"]
    atoll("opt", "good.mlir", "--passes", "inline-calls, cse", "--dump-dir", str(tmp_path))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["00-inline-calls.mlir", "01-cse.mlir"]


def test_opt_writes_a_file(atoll, tmp_path):
    out = tmp_path / "out.mlir"
    assert atoll("opt", "good.mlir", "-o", str(out)) == (0, "", "")
    assert atoll("opt", str(out))[1] == out.read_text()


def test_verbose_says_why_nothing_happened():
    done = in_process_of_its_own("opt", "good.mlir", "--passes", "inline-calls, inline-calls", "--verbose")
    assert done.stderr.splitlines() == [
        "pass inline-calls",
        "pass inline-calls",
        "nothing to do: the module has no calls",
    ]


@pytest.mark.parametrize("verbose", [(), ("--verbose",)])
def test_notes_are_told_once(verbose, tmp_path):
    """By `opt` in any case, with --verbose among what passes say; `dump` tells them with --verbose alone."""
    golden = str(ROOT / "ir_tests/fold-batch/drawn-for-the-whole-batch.mlir")
    told = ": remark: computed for the whole batch, as no rule makes only a part of it: rng_bit_generator, 96 bytes"
    done = in_process_of_its_own("opt", golden, "--passes", "fold-batch", *verbose)
    assert [line.endswith(told) for line in done.stderr.splitlines() if "remark" in line] == [True]
    done = in_process_of_its_own("dump", golden, "--phase", "timed", *verbose)
    assert [line.endswith(told) for line in done.stderr.splitlines() if "remark" in line] == [True] * len(verbose)


@pytest.mark.parametrize("command", [(), ("opt",), ("dump",), ("demo",)])
def test_every_help_has_an_example(command, capsys):
    with pytest.raises(SystemExit) as stop:
        run_here([*command, "--help"])
    assert stop.value.code == 0
    assert f"example: atoll {' '.join(command)}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [("frobnicate",), (), ("dump",), ("opt", "--frobnicate"), ("dump", "t.mlir", "--after", "a", "--all", "d")],
)
def test_what_argparse_refuses_is_told_with_the_usage(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        run_here(arguments)
    assert stop.value.code == 2
    told = capsys.readouterr().err
    assert told.startswith("usage: atoll")
    assert "Traceback" not in told


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ("dump", "train.py:job", "--plam=stages=2"),
            "atoll dump: error: there is no option --plam; did you mean '--plan'?",
        ),
        # As `--topology`, this would be read as the text of a topology.
        (("view", "train.py:job", "--top", "3"), "atoll view: error: there is no option --top; "),
        (
            ("dump", "t.py:job", "--topology", "2", "x", "cpu[1]"),
            "'x' is one argument too many; put what has spaces",
        ),
    ],
)
def test_what_a_command_does_not_know_is_told_by_that_command(arguments, told, capsys):
    with pytest.raises(SystemExit) as stop:
        run_here(arguments)
    assert stop.value.code == 2
    assert told in capsys.readouterr().err.splitlines()[-1]


def test_the_version_is_printed(capsys):
    with pytest.raises(SystemExit) as stop:
        run_here(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"atoll {metadata.version('atoll')}\n"


@pytest.mark.parametrize(
    "arguments", [("run", "--view"), ("run", "--save"), ("compile", "--save"), ("simulate", "--svg"), ("view", "-o")]
)
def test_a_place_for_no_file_is_refused_before_the_work(arguments, tmp_path, capsys):
    """The target is not even looked for."""
    command, option = arguments
    for place, why in ((tmp_path, "Is a directory"), (tmp_path / "no" / "file", "No such file or directory")):
        assert run_here([command, "nowhere.mlir", "--topology=1 x cpu[1]", option, str(place)]) == 1
        assert f"error: cannot write {place}: {why}; name another file\n" in capsys.readouterr().err


# Ends that are not an error of the input


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path):
    # More than a pipe holds.
    text = "\n".join(GOOD.replace("@main", f"@main{index}").replace("@f(", f"@f{index}(") for index in range(3000))
    (tmp_path / "large.mlir").write_text(text)
    command = f"{sys.executable} -m atoll opt {tmp_path}/large.mlir | head -n 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("module {\n", "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
@pytest.mark.parametrize("target", [["opt", "good.mlir"], ["dump", "good.mlir", "--phase", "stablehlo"]])
def test_a_full_disk_is_a_sentence(target):
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "atoll", *target]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    told, *_ = done.stderr.splitlines()
    assert told == "error: cannot write: no space left on the device; make room, or write elsewhere"


@pytest.mark.parametrize(
    ("target", "doing"), [("aborts.py:job", "loading aborts.py"), ("train.py:aborting", "tracing <lambda>")]
)
def test_an_abort_is_a_sentence(target, doing):
    done = in_process_of_its_own("dump", target)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-2] == (
        f"error: a native library ended the process (SIGABRT) during: {doing}; "
        "this is a defect; please report it with the input, and try without that step"
    )


def test_an_abort_names_the_pass(tmp_path):
    program = """
import sys
from atoll.compiler.commands import cli
from atoll.compiler.pipeline import native_passes
native_passes.NATIVE_PASSES["sdy-basic-propagate"] = native_passes.Native("lost its guard")
sys.exit(cli.main(["opt", "-", "--passes", "cse, sdy-basic-propagate"]))
"""
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, input="", capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 1
    (file,) = tmp_path.glob("atoll-*/*")
    assert "(SIGABRT) during: pass sdy-basic-propagate;" in done.stderr
    assert f"please report it with {file}, which `atoll opt` runs" in done.stderr
    again = parse_file(file)
    assert again.operation.attributes["atoll.passes_left"] == ir.StringAttr.get("sdy-basic-propagate", again.context)


def test_a_native_pass_that_ends_well_leaves_no_file(tmp_path):
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-m", "atoll", "opt", "-", "--passes", "cse, symbol-dce"]
    subprocess.run(command, input="", capture_output=True, text=True, check=True, env=environment)
    assert not list(tmp_path.iterdir())


def waiting_command(folder):
    # Many short sleeps: Python misses a signal that comes just before a sleep until that sleep has ended.
    (folder / "waits.py").write_text(
        "import sys, time\nsys.stderr.write('up\\n')\nsys.stderr.flush()\nfor _ in range(1000): time.sleep(0.1)\n"
    )
    # The tests may run where Ctrl-C is ignored, as it is in the background of a shell; and what is ignored stays so.
    heeding = (
        "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execv(sys.argv[1], sys.argv[1:])"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", heeding, sys.executable, "-m", "atoll", "dump", "waits.py:job"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr.readline() == "up\n"
    return process


def test_ctrl_c_ends_the_command_without_a_word(folder):
    with waiting_command(folder) as process:
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        assert process.wait(120) == 130
        assert process.stderr.read() == ""


def test_a_command_that_is_told_to_end_leaves_nothing_behind(folder):
    with waiting_command(folder) as process:
        process.terminate()
        assert process.wait(120) == 128 + signal.SIGTERM
        assert process.stderr.read() == ""  # at the end of which the child is gone as well


def test_the_guard_tells_how_a_command_died():
    program = """
import os, signal, sys
from atoll.compiler import activity, guard
number = int(sys.argv[1])
sys.exit(guard.guarded(lambda: (activity.announce("a test"), os.kill(os.getpid(), number))))
"""
    for number, status, told in [
        (signal.SIGSEGV, 1, "error: a native library ended the process (SIGSEGV) during: a test; this is a defect"),
        (signal.SIGKILL, 1, "error: the process was killed (SIGKILL) during: a test; it may have used more memory"),
        (signal.SIGRTMIN + 3, 1, "error: a native library ended the process"),
        (signal.SIGTERM, 143, ""),
    ]:
        command = [sys.executable, "-c", program, str(int(number))]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr[: len(told)]) == (status, told)
        assert done.stderr.splitlines()[1:] == (["  see docs/errors.md#defects"] if told else [])


@pytest.mark.parametrize(
    ("ending", "status"), [("return 7", 7), ("raise SystemExit(5)", 1), ("raise KeyboardInterrupt", 130)]
)
def test_the_guard_passes_the_status_on(ending, status):
    program = f"""
import sys
from atoll.compiler import guard
def command():
    {ending}
sys.exit(guard.guarded(command))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (status, "")


def test_what_is_announced_may_be_long_and_is_heard_by_nobody_outside_of_a_guard():
    activity.announce("x" * 10_000)
    assert not guard.is_guarded()
