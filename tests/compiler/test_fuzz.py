"""Whatever is put into the commands, what comes out is an answer or a sentence: no traceback, no defect, no abort.

With `ATOLL_LONG_FUZZ=1` in the environment it looks for many minutes, at other inputs in every run.
"""

import base64
import functools
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from atoll.compiler.mlir.ir_text import parse_text
from atoll.compiler.pipeline.native_passes import NATIVE_PASSES
from hypothesis import given, settings
from hypothesis import strategies as st

SCRIPT = Path(__file__).with_name("serve_commands.py")

SEEDS = (
    """\
func.func @main(%x: tensor<4x8xf32> {atoll.path = "x", atoll.batch}) -> (tensor<4xf32> {atoll.path = "result"}) {
  %zero = stablehlo.constant dense<0.0> : tensor<f32>
  %y = call @f(%x) : (tensor<4x8xf32>) -> tensor<4x8xf32> loc("jit(f)/jvp(layer)"(callsite("a.py":1:2 at "b.py":3:4)))
  %z = stablehlo.reduce(%y init: %zero) applies stablehlo.add across dimensions = [1]
      : (tensor<4x8xf32>, tensor<f32>) -> tensor<4xf32>
  return %z : tensor<4xf32>
}
func.func private @f(%x: tensor<4x8xf32>) -> tensor<4x8xf32> {
  %y = chlo.square %x : tensor<4x8xf32> -> tensor<4x8xf32>
  return %y : tensor<4x8xf32>
}
""",
    """\
module @m attributes {atoll.phase = "stablehlo", atoll.topology = "2 x cpu[4]"} {
  sdy.mesh @mesh = <["x"=2, "y"=4]>
  func.func public @main(%x: tensor<8x8xbf16> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}, {?}]>}) -> tensor<8x8xbf16> {
    %y = stablehlo.dot_general %x, %x, contracting_dims = [1] x [0]
        : (tensor<8x8xbf16>, tensor<8x8xbf16>) -> tensor<8x8xbf16>
    %z = sdy.sharding_constraint %y <@mesh, [{"x"}, {"y"}]> : tensor<8x8xbf16>
    return %z : tensor<8x8xbf16>
  }
}
""",
    """\
func.func @main(%n: tensor<i32>, %c: tensor<i1>) -> tensor<i32> {
  %r = stablehlo.while(%i = %n) : tensor<i32>
    cond {
      stablehlo.return %c : tensor<i1>
    } do {
      %j = "stablehlo.case"(%i) ({
        %k = func.call @g(%i) : (tensor<i32>) -> tensor<i32>
        stablehlo.return %k : tensor<i32>
      }) : (tensor<i32>) -> tensor<i32>
      stablehlo.return %j : tensor<i32>
    }
  return %r : tensor<i32>
}
func.func private @g(%x: tensor<i32>) -> tensor<i32> { return %x : tensor<i32> }
""",
    """\
func.func @main(%x: !mpmd.mesh_tensor<"a", tensor<4xf32>>) -> !mpmd.mesh_tensor<"b", tensor<4xf32>>
    attributes {topology = #mpmd.topology<<"a" : <["x"=2]>>, <"b" : <["x"=2]>>>} {
  %y = mpmd.fragment<mesh="a", origin=["f"]> (%x) {atoll.stage = 0 : i32} (%v: tensor<4xf32>) {
    mpmd.return %v : tensor<4xf32>
  } : (!mpmd.mesh_tensor<"a", tensor<4xf32>>) -> !mpmd.mesh_tensor<"a", tensor<4xf32>>
  %z = mpmd.transfer %y : (!mpmd.mesh_tensor<"a", tensor<4xf32>>) -> !mpmd.mesh_tensor<"b", tensor<4xf32>>
  return %z : !mpmd.mesh_tensor<"b", tensor<4xf32>>
}
""",
)

# What a mutation inserts: pieces of the language, and what is hard on parsers.
PIECES = (
    *(
        "%x",
        "%y",
        "@main",
        "@f",
        "@g",
        "call @f(%x)",
        "return",
        "()",
        "{",
        "}",
        "(",
        ")",
        "<",
        ">",
        "[",
        "]",
        "->",
        ":",
        "=",
    ),
    *(
        "tensor<f32>",
        "tensor<?xf32>",
        "tensor<0xi1>",
        "tensor<99999999999999999999xf32>",
        "tensor<*xf32>",
        "i0",
        "i99999",
    ),
    *(
        "loc(unknown)",
        'loc("\\FF":1:1)',
        '"\\FF"',
        '"',
        "\\",
        "\0",
        "\xff",
        "é",
        "\r\n",
        "// -----\n",
        "#loc1",
        "!t = f32",
    ),
    *(
        "-1",
        "18446744073709551616",
        "0x",
        "1e999",
        "dense<",
        'dense<"0x">',
        "atoll.path = 3",
        "atoll.batch",
        "atoll.phase = 1",
    ),
    *(
        "func.func private @h()",
        "module {",
        "stablehlo.constant dense<1> : tensor<i32>",
        "{-#",
        "^bb0:",
        "((((" * 50,
        "{{",
    ),
)

PIPELINES = (
    "",
    "normalize",
    "inline-calls, symbol-dce",
    "cse, canonicalize",
    "verify-stablehlo",
    "strip-debuginfo, normalize",
)


class Server:
    """The process that runs the commands; a new one when it has died."""

    def __init__(self, folder) -> None:
        self.process = None
        self._folder = folder  # where reproducers are written

    def ask(self, arguments, given):
        """What the command answers, or None if it ended its process."""
        if self.process is None:
            self.process = subprocess.Popen(
                [sys.executable, SCRIPT],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                env=os.environ | {"TMPDIR": str(self._folder)},
            )
        request = {"arguments": arguments, "input": base64.b64encode(given).decode()}
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if line:
            return json.loads(line)
        self.close()
        return None

    def close(self) -> None:
        if self.process is not None:
            self.process.stdin.close()
            self.process.stdout.close()
            self.process.wait()
            self.process = None


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    running = Server(tmp_path_factory.mktemp("reproducers"))
    yield running
    running.close()


@pytest.fixture(scope="module")
def module_file(tmp_path_factory):
    file = tmp_path_factory.mktemp("fuzz") / "module.mlir"
    file.write_text(SEEDS[0])
    return str(file)


def check(server, arguments, given=b""):
    """Run a command and check the answer; return its output, or None if it refused."""
    answer = server.ask(arguments, given)
    context = f"arguments: {arguments!r}\ninput: {given!r}"
    if answer is None:
        command = [sys.executable, "-m", "atoll", *arguments]
        told = subprocess.run(command, input=given, capture_output=True, check=False)
        last = told.stderr.decode(errors="replace").splitlines()[-2]
        assert told.returncode == 1, f"an abort reached the user\n{context}"
        assert last.startswith("error: a native library ended the process ("), f"{last}\n{context}"
        return None
    errors = answer["errors"]
    assert answer["status"] in (0, 1), f"status {answer['status']}: {errors}\n{context}"
    assert "Traceback" not in errors, f"{errors}\n{context}"
    assert "internal error" not in errors, f"{errors}\n{context}"
    if answer["status"] == 0:
        return answer["output"]
    assert any(line.startswith("error: ") for line in errors.splitlines()), f"{errors}\n{context}"
    return None


@st.composite
def mutated(draw, seeds, pieces):
    """A seed, damaged a few times."""
    text = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.sampled_from((0, 1, 2, 5, 20, 100))))
        match draw(st.sampled_from(("cut", "remove", "replace", "repeat", "move"))):
            case "cut":
                text = text[:start]
            case "remove":
                text = text[:start] + text[end:]
            case "replace":
                text = text[:start] + draw(st.sampled_from(pieces)) + text[end:]
            case "repeat":
                text = text[:end] + text[start:end] * draw(st.integers(1, 3)) + text[end:]
            case "move":
                rest = text[:start] + text[end:]
                target = draw(st.integers(0, len(rest)))
                text = rest[:target] + text[start:end] + rest[target:]
    return text


def fuzzed(examples: int) -> settings:
    """How long to look: a while at the same inputs in every run, or longer at others."""
    if os.environ.get("ATOLL_LONG_FUZZ"):
        return settings(max_examples=125 * examples, deadline=None, database=None)
    return settings(max_examples=examples, deadline=None, database=None, derandomize=True)


@fuzzed(400)
@given(text=mutated(SEEDS, PIECES), passes=st.sampled_from(PIPELINES), split=st.booleans())
def test_opt_on_mutated_text(server, text, passes, split):
    arguments = ["opt", "-", "--passes", passes, "--debug-info", *(["--split-input-file"] if split else [])]
    output = check(server, arguments, text.encode("latin-1"))
    if output is not None and not split:
        assert check(server, ["opt", "-", "--debug-info"], output.encode()) == output, "what opt prints, it reads"


@functools.cache
def bytecode_seeds() -> tuple[str, ...]:
    """The seeds as bytecode; each byte is a character, so that the same mutations apply."""
    seeds = []
    for text in SEEDS:
        module = parse_text(text)
        written = io.BytesIO()
        module.operation.write_bytecode(written)
        seeds.append(written.getvalue().decode("latin-1"))
    return tuple(seeds)


BYTES = (*map(chr, (0, 1, 2, 3, 127, 128, 254, 255)), "\xff" * 9, "\0" * 9, "ML\xefR")


@fuzzed(120)
@given(text=st.deferred(lambda: mutated(bytecode_seeds(), BYTES)), passes=st.sampled_from(PIPELINES))
def test_opt_on_mutated_bytecode(server, text, passes):
    check(server, ["opt", "-", "--passes", passes], text.encode("latin-1"))


@fuzzed(80)
@given(
    text=mutated(
        SEEDS, (*PIECES, "// expected-error {{x}}", "// expected-error-re @below {{(}}", "// expected-note @+1 {{}}")
    )
)
def test_verify_diagnostics_on_mutated_text(server, text):
    arguments = ["opt", "-", "--passes", "normalize", "--verify-diagnostics", "--split-input-file"]
    check(server, arguments, text.encode("latin-1"))


NAMES = ("normalize", "inline-calls", "cse", "canonicalize", "sdy-propagation-pipeline", "func.func", "nothing", "all")
PIPELINE_PIECES = (
    *NAMES,
    *",{}()=[]\"'\\;#",
    "max-iterations=3",
    "top-down=false",
    " ",
    "\n",
    "\0",
    "é",
    "🐚",
    "=1",
    "x" * 500,
    "((((" * 100,
)
PIPELINE_SEEDS = (
    "inline-calls, cse",
    "func.func(cse, canonicalize{max-iterations=3}), symbol-dce",
    'normalize, cse{a="b"}',
)


def damaged(seeds, pieces):
    """A text of a small language: mutated, made of its pieces, or of anything."""
    return mutated(seeds, pieces) | st.lists(st.sampled_from(pieces), max_size=8).map("".join) | st.text(max_size=30)


def as_argument(text: str) -> str:
    """No program can be given a zero byte or half a character."""
    return text.replace("\0", "").encode(errors="ignore").decode()


@pytest.mark.own
@fuzzed(160)
@given(text=damaged(PIPELINE_SEEDS, PIPELINE_PIECES))
def test_any_pass_pipeline(server, text):
    check(server, ["opt", "-", f"--passes={as_argument(text)}"], SEEDS[0].encode())


@fuzzed(40)
@given(
    names=st.lists(st.sampled_from([*NATIVE_PASSES, "inline-calls", "drop-dead-arguments"]), max_size=5),
    seed=st.sampled_from(SEEDS),
)
def test_any_sequence_of_passes(server, names, seed):
    check(server, ["opt", "-", "--passes", ", ".join(names)], seed.encode())


TOPOLOGY_SEEDS = (
    "2 x cpu[4]",
    "2 x v4[16x16x12](data=256, model=12) 2 GiB",
    "island a : cpu[data=2, model=2]\nisland b : cpu[4]\nlink a <-> b : 25 GB/s, 1 ms",
)
TOPOLOGY_PIECES = (
    "island",
    "link",
    "cpu",
    "gpu",
    "v5e",
    "potato",
    " x ",
    "[",
    "]",
    "(",
    ")",
    "=",
    ",",
    ":",
    "<->",
    "0",
    "-1",
    "9" * 40,
    "GiB",
    "GB/s",
    "ms",
    "\n",
    "é",
    '"',
)
PLAN_SEEDS = (
    "stages=2, microbatches=8",
    'stages="embed, layer_[0..5] | layer_[6..11]"',
    'schedule="interleaved-1f1b(2)", replicas=2',
)
PLAN_PIECES = (
    "stages",
    "microbatches",
    "schedule",
    "replicas",
    "placement",
    "auto",
    "=",
    ",",
    '"',
    "|",
    "[0..5]",
    "{",
    "}",
    ":",
    "0",
    "-1",
    "9" * 40,
    "1.5",
    "\n",
    "é",
    "1f1b",
)


@pytest.mark.own
@fuzzed(120)
@given(topology=damaged(TOPOLOGY_SEEDS, TOPOLOGY_PIECES))
def test_any_topology(server, module_file, topology):
    check(server, ["dump", module_file, "--phase", "stablehlo", f"--topology={as_argument(topology)}"])


@pytest.mark.own
@fuzzed(120)
@given(plan=damaged(PLAN_SEEDS, PLAN_PIECES))
def test_any_plan(server, module_file, plan):
    check(server, ["dump", module_file, "--phase", "stablehlo", f"--plan={as_argument(plan)}"])
