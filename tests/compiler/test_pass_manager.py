"""Running passes: who is blamed for a failure, what observers see, what is printed."""

import logging
import subprocess
import sys
import tempfile
from dataclasses import dataclass

import pytest
from atoll.compiler.errors import CompileError, PlanError, UsageError
from atoll.compiler.mlir.bindings import ir, stablehlo
from atoll.compiler.mlir.diagnostics import refuse
from atoll.compiler.mlir.functions import functions_in, operations_in
from atoll.compiler.mlir.ir_text import parse_file, parse_text, print_module
from atoll.compiler.module.notes import WholeLoop
from atoll.compiler.module.noting import add_note
from atoll.compiler.pipeline.pass_base import NativePass, Pass, step_name
from atoll.compiler.pipeline.pass_manager import run_passes
from atoll.compiler.pipeline.registry import steps_of_text
from atoll.compiler.pipeline.reproducer import take_steps_left
from atoll.passes.normalize.inline_calls import InlineCalls
from told import told

MODULE = """
func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
  %y = stablehlo.negate %x : tensor<4xf32> loc("jit(step)/layer_1/neg"("train.py":12:3))
  return %y : tensor<4xf32>
}
"""

CSE = NativePass("cse", "cse")


@dataclass(frozen=True)
class Nothing(Pass):
    """Do nothing."""

    def run(self, module):
        pass


@dataclass(frozen=True)
class Refuse(Pass):
    """Refuse the first operation."""

    def run(self, module):
        raise refuse(first_operation(module).location, "negation is not positive", "think positively")


def raising(error):
    @dataclass(frozen=True)
    class Raise(Pass):
        """Raise what it is given."""

        def run(self, module):
            raise error

    return Raise()


@dataclass(frozen=True)
class Break(Pass):
    """Leave IR behind that does not verify: a function that returns something of another type."""

    def run(self, module):
        main = functions_in(module)["main"]
        main.attributes["function_type"] = ir.TypeAttr.get(ir.Type.parse("(tensor<4xf32>) -> tensor<5xf32>"))


@dataclass(frozen=True)
class Negate(Pass):
    """Erase the negation."""

    def run(self, module):
        operation = first_operation(module)
        operation.results[0].replace_all_uses_with(operation.operands[0])
        operation.operation.erase()


def first_operation(module):
    return operations_in(functions_in(module)["main"], stablehlo.NegOp)[0]


@pytest.fixture
def module():
    return parse_text(MODULE)


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    """Where reproducers are written."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def reproducer(folder, name):
    """The one file there is."""
    (file,) = folder.glob("atoll-*/*")
    assert file.name == f"before-{name}.mlir"
    return file


def failure(module, *steps):
    with pytest.raises(CompileError) as caught:
        run_passes(module, steps)
    return caught.value


def test_a_pass_that_refuses_is_named_with_the_users_line(module):
    error = failure(module, Nothing(), Refuse(), Nothing())
    name = Refuse.name()
    assert error.message == f"train.py:12: pass {name}: negation is not positive; think positively"
    assert [(one.severity, one.file, one.line) for one in error.diagnostics] == [("error", "train.py", 12)]


def test_an_error_of_another_kind_keeps_it_and_gets_the_name(module):
    with pytest.raises(PlanError, match=rf"pass {Nothing.name()}: the plan is bad; make a better one"):
        run_passes(module, [raising(PlanError("the plan is bad", remedy="make a better one"))])


def test_a_pass_that_leaves_invalid_ir_is_named(module, temporary):
    error = failure(module, Nothing(), Break(), CSE)
    assert str(error).splitlines()[0] == (
        f"-:4:3: pass {Break.name()}: it left invalid IR: type of return operand 0 ('tensor<4xf32>') doesn't match "
        "function result type ('tensor<5xf32>') in function @main; this is a defect of the pass; please report it "
        f"with {reproducer(temporary, Break.name())}, which `atoll opt` runs"
    )


def test_a_defect_leaves_the_ir_before_its_pass_and_the_passes_left(module, temporary, monkeypatch):
    monkeypatch.setattr(InlineCalls, "run", raising(KeyError("lost")).run)
    steps = steps_of_text("trivial-dce, inline-calls, func.func(cse), canonicalize{max-iterations=3}")
    with pytest.raises(CompileError, match="pass inline-calls: internal error, KeyError"):
        run_passes(parse_text(MODULE.replace("  return", "%0 = stablehlo.abs %x : tensor<4xf32>\nreturn")), steps)
    left = parse_file(reproducer(temporary, "inline-calls"))
    assert take_steps_left(left) == steps[1:]
    assert print_module(left) == print_module(parse_text(MODULE))
    assert "train.py" in print_module(left, debug_info=True)
    assert take_steps_left(left) == []


def test_a_defect_that_does_not_come_again_is_reported_from_the_start(module, temporary):
    failing = iter([None, UsageError("it fails the second time only")])

    @dataclass(frozen=True)
    class Moody(Pass):
        """Refuse the second time."""

        def run(self, module):
            if (error := next(failing)) is not None:
                raise error

    failure(module, Moody(), raising(KeyError()))
    assert reproducer(temporary, Nothing.name()).read_text().count("test-pass-manager") == 2


def test_a_defect_is_told_where_no_file_can_be_written(module, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    error = failure(module, raising(KeyError("lost")))
    assert error.sentence.endswith("this is a defect of atoll; please report it with the input")


def test_a_refusal_leaves_no_file(module, temporary):
    failure(module, Refuse())
    assert not list(temporary.iterdir())


def test_a_native_pass_that_fails_is_named():
    text = """
      func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
        %y = sdy.sharding_constraint %x <@mesh, [{"x"}]> : tensor<4xf32> loc("train.py":7:1)
        return %y : tensor<4xf32>
      }
      sdy.mesh @mesh = <["x"=2]>"""
    error = failure(parse_text(text), *steps_of_text("cse, stablehlo-legalize-to-vhlo"))
    assert "pass stablehlo-legalize-to-vhlo: failed to legalize" in str(error)
    assert "\n" not in error.what


def test_a_native_pass_is_not_blamed_for_the_one_before(module):
    assert f"pass {Break.name()}:" in str(failure(module, Break(), CSE))
    assert f"pass {Break.name()}:" in str(failure(parse_text(MODULE), CSE, Break(), CSE))


def test_propagation_without_main_is_refused_before_it_ends_the_process():
    error = failure(parse_text("func.func @other() { return }"), *steps_of_text("sdy-propagation-pipeline"))
    assert "pass sdy-propagation-pipeline: the module has no function @main; name the entry function @main" in str(
        error
    )


@pytest.mark.parametrize(
    "error", [KeyError("lost\nand more"), AssertionError(), RecursionError("deep"), StopIteration()]
)
def test_any_other_exception_is_an_internal_error_in_one_sentence(module, error, temporary):
    found = failure(module, raising(error))
    first = str(error).splitlines()[0].rstrip(".") if str(error) else "no message"
    assert told(found) == (
        f"pass {Nothing.name()}: internal error, {type(error).__name__}: {first}; "
        f"this is a defect of atoll; please report it with {reproducer(temporary, Nothing.name())}, "
        "which `atoll opt` runs"
    )
    assert found.__cause__ is error


@pytest.mark.parametrize("interruption", [KeyboardInterrupt(), SystemExit(3)])
def test_an_interruption_goes_through(module, interruption):
    with pytest.raises(type(interruption)) as caught:
        run_passes(module, [raising(interruption), Nothing()])
    assert caught.value is interruption


def test_nothing_runs_after_a_failure(module):
    seen = []
    with pytest.raises(CompileError):
        run_passes(module, [Nothing(), Refuse(), Nothing()], lambda step, _: seen.append(step))
    assert seen == [Nothing()]


def test_a_failure_leaves_the_context_usable(module):
    failure(module, Refuse())
    assert run_passes(module, [Negate()]) == []
    assert "negate" not in print_module(module)


def test_an_observer_sees_the_module_after_each_step(module):
    seen = []
    run_passes(module, [CSE, Negate(), CSE], lambda step, now: seen.append((step_name(step), print_module(now))))
    assert [name for name, _ in seen] == ["cse", Negate.name(), "cse"]
    assert ["negate" in text for _, text in seen] == [True, False, False]


def test_an_observer_that_fails_is_told_apart_from_the_pass(module):
    def observer(step, now):
        raise PlanError("the disk is full")

    with pytest.raises(PlanError, match="the disk is full"):
        run_passes(module, [Nothing()], observer)


def test_remarks_and_warnings_are_returned(module):
    @dataclass(frozen=True)
    class Warn(Pass):
        def run(self, module):
            first_operation(module).location.emit_error("only said")

    (found,) = run_passes(module, [Warn()])
    assert str(found) == "train.py:12:3: only said"


@dataclass(frozen=True)
class NoteFirst(Pass):
    def run(self, module):
        add_note(module, first_operation(module).location, WholeLoop("layers", "its length depends on data"))


REMARK = "not cut, and on one stage: the loop in scope layers, as its length depends on data"


def test_a_note_is_a_remark_at_the_users_line(module, caplog):
    caplog.set_level(logging.INFO)
    (told,) = run_passes(module, [NoteFirst(), Nothing(), NoteFirst()])  # what is noted is not noted twice
    assert (told.severity, told.where, told.message) == ("remark", "train.py:12:3", REMARK)
    assert [one.message for one in caplog.records if "remark" in one.message] == [f"train.py:12:3: remark: {REMARK}"]


def test_what_was_noted_before_is_not_told_again(module):
    run_passes(module, [NoteFirst()])
    assert run_passes(parse_text(print_module(module)), [Nothing()]) == []


def test_a_pass_that_fails_has_told_its_notes(module):
    @dataclass(frozen=True)
    class NoteAndRefuse(Pass):
        def run(self, module):
            NoteFirst().run(module)
            Refuse().run(module)

    error = failure(module, NoteAndRefuse())
    assert [one.severity for one in error.diagnostics] == ["remark", "error"]
    assert "not cut" not in str(error)


def test_passes_say_in_the_log_why_they_have_nothing_to_do(module, caplog):
    caplog.set_level(logging.INFO)
    run_passes(module, steps_of_text("inline-calls, drop-dead-arguments"))
    assert [record.message for record in caplog.records] == [
        "pass inline-calls",
        "nothing to do: the module has no calls",
        "pass drop-dead-arguments",
        "nothing to do: every argument of @main is used",
    ]


def test_timing_names_the_passes(tmp_path):
    file = tmp_path / "module.mlir"
    file.write_text(MODULE)
    command = [sys.executable, "-m", "atoll", "opt", file, "--passes", "inline-calls, cse", "--timing", "--verbose"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    log, _, report = done.stderr.partition("Execution time report")
    assert "inline-calls" in report
    assert "CSEPass" in report
    assert "nothing to do: the module has no calls" in log
    assert "stablehlo.negate" in done.stdout
