"""Runs passes in MLIR's own PassManager, which verifies the module after each of them and keeps the times.

What MLIR's manager does not tell, `_Watch` adds: which pass was at work when something failed.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from atoll.compiler import guard
from atoll.compiler.errors import AtollError, CompileError, Diagnostic
from atoll.compiler.mlir.bindings import ExternalPass, PassManager, ir
from atoll.compiler.mlir.diagnostics import Refusal, collecting, failure
from atoll.compiler.module.main_function import entry_function
from atoll.compiler.module.noting import attributes_of_notes, notes_in, remark
from atoll.compiler.pipeline.native_passes import NATIVE_PASSES
from atoll.compiler.pipeline.pass_base import NativePass, Pass, Step, step_name
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

    A step that refuses raises its own error with its name added; so does a module that no longer verifies.
    """
    watch = _Watch(module, observer)
    manager = PassManager("builtin.module", context=module.context)
    for step in steps:
        if isinstance(step, NativePass):
            manager.add(watch.before(step), name=f"(before {step.name})")
            manager.add(step.text)
        else:
            manager.add(watch.running(step), name=step.name(), argument=step.name())
        if observer is not None:
            manager.add(watch.after(step), name=f"(after {step_name(step)})")
    if timing:
        manager.enable_timing()
    with collecting(module.context) as watch.diagnostics:
        try:
            manager.run(module.operation)
        except ir.MLIRError:
            error = watch.explain()
            raise error from (watch.raised if watch.raised is not error else None)
    return watch.diagnostics


_Callback = Callable[[ir.Operation, ExternalPass], None]


@dataclass
class _Watch:
    """Remembers the pass at work and what it raised: no exception may cross MLIR's frames.

    diagnostics: what was emitted, in order: by MLIR, and for each note of a pass a remark.
    """

    module: ir.Module
    observer: Observer | None
    at_work: str = ""
    is_done: bool = False  # the pass at work returned; only verification can fail now
    raised: BaseException | None = None
    diagnostics: list[Diagnostic] = field(default_factory=list)

    def before(self, step: NativePass) -> _Callback:
        def check() -> None:
            self._begin(step.name)
            if NATIVE_PASSES[step.name].needs_main:
                entry_function(self.module)

        return self._callback(check)

    def running(self, step: Pass) -> _Callback:
        def run() -> None:
            self._begin(step.name())
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

    def explain(self) -> BaseException:
        """The error to raise once MLIR has come back from a failure."""
        prefix = f"pass {self.at_work}: "
        match self.raised:
            case None if self.is_done:
                return failure(self.diagnostics, f"{prefix}it left invalid IR: ", "this is a defect of the pass")
            case None:
                return failure(self.diagnostics, prefix)
            case AtollError() as error:
                error.what = prefix + error.what
                if isinstance(error, CompileError):
                    error.diagnostics = tuple(self.diagnostics)
                return error
            case Exception() as defect:
                what = f"{prefix}internal error, {type(defect).__name__}: {first_line(defect)}"
                return CompileError(what, remedy="this is a defect of atoll; please report it with the input")
            case interruption:
                return interruption

    def _begin(self, name: str) -> None:
        self.at_work, self.is_done = name, False
        guard.announce(f"pass {name}")
        log.info("pass %s", name)

    def _tell(self, noted: int) -> None:
        """Emit what the pass at work has noted, after the notes that were there."""
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
                if isinstance(error, Refusal) and error.location is not None:
                    error.location.emit_error(str(CompileError(error.what, remedy=error.remedy)))
                external.signal_pass_failure()

        return callback
