"""Runs passes in MLIR's own PassManager, which verifies the module after each of them and keeps the times.

What MLIR's manager does not tell, `_Watch` adds: which pass was at work when something failed.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from atoll.compiler import activity, guard
from atoll.compiler.errors import AtollError, CompileError, Diagnostic, InternalError
from atoll.compiler.mlir.bindings import ExternalPass, PassManager, ir
from atoll.compiler.mlir.diagnostics import Refusal, collecting, failure
from atoll.compiler.mlir.ir_text import parse_text, to_bytecode
from atoll.compiler.module.main_function import entry_function
from atoll.compiler.module.noting import attributes_of_notes, notes_in, remark
from atoll.compiler.pipeline.native_passes import NATIVE_PASSES
from atoll.compiler.pipeline.pass_base import NativePass, Pass, Step, step_name
from atoll.compiler.pipeline.reproducer import CrashFile, write_reproducer
from atoll.compiler.tracebacks import first_line

log = logging.getLogger(__name__)

# Called with a step and the module as the step left it, verified.
Observer = Callable[[Step, ir.Module], None]


def run_passes(
    module: ir.Module,
    steps: Sequence[Step],
    observer: Observer | None = None,
    timing: bool = False,
) -> list[Diagnostic]:
    """Run the steps on the module in order; return the remarks and warnings that they emitted.

    A step that refuses raises its own error with its name added; so does a module that no longer verifies. The error
    for a defect names a file that reproduces it.
    """
    start = to_bytecode(module)
    watch = _Watch(module, steps, observer)
    manager = PassManager("builtin.module", context=module.context)
    for number, step in enumerate(steps):
        if isinstance(step, NativePass):
            # MLIR does not say which native pass failed, so a callback of ours goes before each and notes its name.
            manager.add(watch.before(number, step), name=f"(before {step.name})")
            manager.add(step.text)
        else:
            manager.add(watch.running(number, step), name=step.name(), argument=step.name())
        # MLIR's own printing after passes does not tell Python passes and these callbacks apart.
        if observer is not None:
            manager.add(watch.after(step), name=f"(after {step_name(step)})")
    if timing:
        manager.enable_timing()
    with collecting(module.context) as watch.diagnostics:
        try:
            manager.run(module.operation)
        except ir.MLIRError:
            error = watch.explain(start)
            raise error from (watch.raised if watch.raised is not error else None)
        finally:
            watch.crash_file.remove()
    return watch.diagnostics


_Callback = Callable[[ir.Operation, ExternalPass], None]


@dataclass
class _Watch:
    """Remembers the pass at work, and what it raised, as no exception may cross MLIR's frames.

    diagnostics: what was emitted, in order, by MLIR; and a remark for each note of a pass.
    """

    module: ir.Module
    steps: Sequence[Step]
    observer: Observer | None
    at_work: int = 0
    is_done: bool = False  # the pass at work returned; only verification can fail now
    raised: BaseException | None = None
    diagnostics: list[Diagnostic] = field(default_factory=list)
    crash_file: CrashFile = field(default_factory=CrashFile)

    def before(self, number: int, step: NativePass) -> _Callback:
        def check() -> None:
            self._begin(number)
            if NATIVE_PASSES[step.name].needs_main:
                entry_function(self.module)

        return self._callback(check)

    def running(self, number: int, step: Pass) -> _Callback:
        def run() -> None:
            self._begin(number)
            noted = len(attributes_of_notes(self.module))
            try:
                step.run(self.module)
            finally:
                self._tell(noted)
            self.is_done = True

        return self._callback(run)

    def after(self, step: Step) -> _Callback:
        def observe() -> None:
            assert self.observer is not None
            self.observer(step, self.module)

        return self._callback(observe)

    def explain(self, start: bytes) -> BaseException:
        """The error to raise once MLIR has come back from a failure. start: the module before all steps."""
        prefix = f"pass {step_name(self.steps[self.at_work])}: "
        match self.raised:
            case None if self.is_done:
                remedy = f"this is a defect of the pass; please report it with {self._reproducer(start)}"
                return failure(self.diagnostics, f"{prefix}it left invalid IR: ", remedy)
            case None:
                remedy = f"to see the IR that it failed on, open {self._reproducer(start)}"
                return failure(self.diagnostics, prefix, remedy)
            case AtollError() as error:
                error.what = prefix + error.what
                if isinstance(error, CompileError):
                    error.diagnostics = tuple(self.diagnostics)
                return error
            case Exception() as defect:
                what = f"{prefix}internal error, {type(defect).__name__}: {first_line(defect)}"
                remedy = f"this is a defect of atoll; please report it with {self._reproducer(start)}"
                return InternalError(what, remedy=remedy)
            case interruption:
                return interruption

    def _begin(self, number: int) -> None:
        self.at_work, self.is_done = number, False
        step, file = self.steps[number], None
        # Only a native pass can end the process, and only a parent process could then tell of the file.
        if isinstance(step, NativePass) and guard.is_guarded():
            file = self.crash_file.write(self.module, self.steps[number:])
        activity.announce(f"pass {step_name(step)}", str(file or ""))
        log.info("pass %s", step_name(step))

    def _reproducer(self, start: bytes) -> str:
        """A file with the IR before the pass at work, made anew: a pass that failed has left its module half done."""
        module, left = parse_text(start), self.steps
        try:
            run_passes(module, self.steps[: self.at_work])
            left = self.steps[self.at_work :]
        except AtollError:  # an earlier pass fails that did not fail before; all of the passes show both
            module = parse_text(start)
        file = write_reproducer(module, left)
        return "the input" if file is None else f"{file}, which `atoll opt` runs"

    def _tell(self, noted: int) -> None:
        """Emit what the pass at work has noted. noted: how many notes there were before it."""
        for note in notes_in(attributes_of_notes(self.module)[noted:], self.module.operation.location):
            self.diagnostics.append(remark(note))
            log.info("%s", self.diagnostics[-1].labelled)

    def _callback(self, run: Callable[[], None]) -> _Callback:
        def callback(_operation: ir.Operation, external: ExternalPass) -> None:
            try:
                with self.module.context, ir.Location.unknown():
                    run()
            except BaseException as error:  # handed to explain(), which raises it again
                self.raised = error
                if isinstance(error, Refusal):
                    error.emit()
                external.signal_pass_failure()

        return callback
