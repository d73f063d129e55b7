"""The collector of golden tests, `ir_tests/conftest.py`, on small folders of its own."""

import logging
from pathlib import Path

import pytest

# Native modules cannot be loaded twice, and what a test run inside this one loads first, it also unloads.
from atoll.compiler.commands import opt  # noqa: F401
from atoll.passes.normalize import inline_calls  # noqa: F401

pytestmark = pytest.mark.own

pytest_plugins = ["pytester"]

CONFTEST = Path(__file__).resolve().parents[2] / "ir_tests" / "conftest.py"

NEGATE = """
func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
  %y = call @negated(%x) : (tensor<4xf32>) -> tensor<4xf32>
  return %y : tensor<4xf32>
}
func.func private @negated(%x: tensor<4xf32>) -> tensor<4xf32> {
  %y = stablehlo.negate %x : tensor<4xf32>
  return %y : tensor<4xf32>
}
"""

# Line 1 is the RUN line, so the call stands in line 3.
UNDEFINED = """
func.func @main() {
  call @elsewhere() : () -> ()
  return
}
func.func private @elsewhere()
"""


@pytest.fixture
def golden(pytester, monkeypatch):
    """Runs pytest on a file of IR, as the goldens are run."""
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # quicker; the goldens need none
    pytester.makeconftest(CONFTEST.read_text(encoding="utf-8"))

    def run(text, *options):
        (pytester.path / "case.mlir").write_text(text, encoding="utf-8")
        return pytester.runpytest_inprocess("-p", "no:cacheprovider", *options)

    return run


def test_checks_that_hold(golden):
    text = f"""
        // RUN: atoll-opt %s --passes "inline-calls" | filecheck %s
        // RUN: atoll-opt %s --passes "inline-calls, symbol-dce" | filecheck %s --check-prefixes=CHECK,GONE
        // CHECK: stablehlo.negate
        // GONE-NOT: @negated
        {NEGATE}"""
    golden(text).assert_outcomes(passed=2)


def test_a_check_that_does_not_hold(golden):
    result = golden(f"""// RUN: atoll-opt %s --passes "cse" | filecheck %s\n// CHECK: stablehlo.abs\n{NEGATE}""")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ['$ atoll-opt case.mlir --passes "cse" | filecheck case.mlir', '*case.mlir:2:*"stablehlo.abs"*']
    )
    result.stdout.no_fnmatch_line("*Traceback*")


def test_a_golden_that_checks_nothing(golden):
    result = golden(f"""// RUN: atoll-opt %s | filecheck %s\n{NEGATE}""")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*No check strings found with prefix CHECK*"])


@pytest.mark.parametrize("directive", ["CHECK-NXT", "BEFORE"])
def test_a_directive_that_nothing_reads(golden, directive):
    text = f"// RUN: atoll-opt %s | filecheck %s\n// CHECK: @main\n// {directive}: return\n{NEGATE}"
    result = golden(text)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"case.mlir:3: nothing reads `{directive}:`"])


def test_a_command_that_fails(golden):
    result = golden(f"""// RUN: atoll-opt %s --passes "inline-calls" | filecheck %s\n// CHECK: @main{UNDEFINED}""")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["exit status 1", "standard error:", "error: case.mlir:4: pass inline-calls: *"])


def test_a_file_without_a_run_line(golden):
    result = golden(NEGATE)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["case.mlir has no RUN line; write one of", "*atoll-opt %s*| filecheck %s"])


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("mlir-opt %s", "starts with `atoll-opt %s`"),
        ("atoll-opt model.mlir", "starts with `atoll-opt %s`"),
        ("atoll-opt %s > out", "which `>` would need"),
        ("atoll-opt %s && true", "which `&&` would need"),
        ("atoll-opt %s | sort", "pipe into `filecheck %s`"),
        ("atoll-opt %s | filecheck", "pipe into `filecheck %s`"),
        ("atoll-opt %s | filecheck %s | sort", "pipe into `filecheck %s`"),
        ("atoll-opt %s --passes $PASSES", "which `$PASSES` would need"),
        ("atoll-opt %s --passes 'cse", "no shell could read"),
        ("atoll-opt %s --verify-diagnostics | filecheck %s", "prints nothing that filecheck could read"),
        ("atoll-opt %s | filecheck %s --strict", "filecheck: Unconsumed arguments"),
        ("atoll-opt %s --strict", "there is no option --strict; known are"),
    ],
)
def test_a_run_line_that_cannot_be_run(golden, line, sentence):
    result = golden(f"// RUN: {line}\n{NEGATE}")
    result.assert_outcomes(failed=1)
    assert sentence in result.stdout.str()


def test_a_snapshot(golden, pytester):
    inline = f'// RUN: atoll-opt %s --passes "inline-calls"\n{NEGATE}'
    missing = golden(inline)
    missing.assert_outcomes(failed=1)
    missing.stdout.fnmatch_lines(["there is no case.expected; `pytest case.mlir --update` writes it"])
    golden(inline, "--update").assert_outcomes(passed=1)
    written = (pytester.path / "case.expected").read_text(encoding="utf-8")
    assert "stablehlo.negate %arg0" in written
    golden(inline).assert_outcomes(passed=1)

    changed = golden(inline.replace("inline-calls", "inline-calls, symbol-dce"))
    changed.assert_outcomes(failed=1)
    changed.stdout.fnmatch_lines(["--- case.expected", "-  func.func private @negated*", "if the change is meant: *"])
    assert (pytester.path / "case.expected").read_text(encoding="utf-8") == written


def test_a_snapshot_of_a_failure_is_not_written(golden, pytester):
    golden(f'// RUN: atoll-opt %s --passes "inline-calls"{UNDEFINED}', "--update").assert_outcomes(failed=1)
    assert not (pytester.path / "case.expected").exists()


def test_update_is_refused_where_ci_is_set(golden, monkeypatch):
    monkeypatch.setenv("CI", "1")
    result = golden(f'// RUN: atoll-opt %s --passes "cse"\n{NEGATE}', "--update")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--update rewrites what the golden tests expect; it is refused where CI is set*"])


VERIFY = '// RUN: atoll-opt %s --passes "inline-calls" --verify-diagnostics --split-input-file'


def test_a_diagnostic_that_is_expected(golden):
    expecting = UNDEFINED.replace("  call", "  // expected-error @below {{@elsewhere is called}}\n  call")
    # Lines are counted through the file, not from the separator.
    golden(f"{VERIFY}{expecting}// -----\n{expecting}").assert_outcomes(passed=1)


def test_a_diagnostic_on_another_line(golden):
    expecting = UNDEFINED.replace("  call", "  // expected-error @above {{@elsewhere is called}}\n  call")
    result = golden(VERIFY + expecting)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*case.mlir:3: expected error * was not produced", "*:4:*: unexpected error: @elsewhere is called*"]
    )


def test_a_diagnostic_that_is_not_expected(golden):
    result = golden(f"{VERIFY}{UNDEFINED}// -----\n// expected-error @below {{{{unknown}}}}\nfunc.unknown\n")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*:3:*: unexpected error: @elsewhere is called but has no body*"])


def test_a_file_that_expects_no_diagnostic(golden):
    result = golden(f"{VERIFY}\n{NEGATE}")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["the file expects nothing; *"])


def test_a_golden_leaves_logging_as_it_was(golden):
    before = logging.getLogger().handlers[:], logging.getLogger().level
    golden(f"// RUN: atoll-opt %s | filecheck %s\n// CHECK: @main\n{NEGATE}").assert_outcomes(passed=1)
    assert (logging.getLogger().handlers, logging.getLogger().level) == before
