"""`atoll opt`: runs passes on MLIR text; on a file that reproduces a defect, the passes that the file names."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from atoll.compiler import display
from atoll.compiler.commands.verify_diagnostics import differences
from atoll.compiler.errors import AtollError, CompileError, Diagnostic, UsageError
from atoll.compiler.mlir.bindings import ir
from atoll.compiler.mlir.diagnostics import NO_FILE
from atoll.compiler.mlir.ir_text import SEPARATOR, parse_file, parse_input, print_module, split_text
from atoll.compiler.module.division import without_refused_choice
from atoll.compiler.pipeline.dump_folder import DumpFolder
from atoll.compiler.pipeline.native_passes import NATIVE_PASSES
from atoll.compiler.pipeline.pass_base import Step, step_name
from atoll.compiler.pipeline.pass_manager import run_passes
from atoll.compiler.pipeline.pass_options import describe_options
from atoll.compiler.pipeline.pipeline import PHASES
from atoll.compiler.pipeline.registry import pass_class, steps_of_text
from atoll.compiler.pipeline.reproducer import take_steps_left
from atoll.compiler.terminal import print_error
from atoll.compiler.text.language import known_names, shown
from atoll.passes import PASSES


def run(options: argparse.Namespace) -> int:
    """The command; the exit status is 1 if a module failed or, with --verify-diagnostics, anything differs."""
    if options.list_passes:
        print(list_passes(), end="")
        return 0
    steps = steps_of_text(options.passes)
    _check_print_after(options.print_ir_after, steps)
    if options.file is None:
        raise UsageError("no file is given", remedy="name a file of MLIR text, or - for standard input")
    source = None if options.file == "-" else Path(options.file)
    folder = None if options.dump_dir is None else DumpFolder(Path(options.dump_dir), source)
    command = _Command(options, steps, folder)
    return command.verify_all() if options.verify_diagnostics else command.print_all()


def list_passes() -> str:
    """Every name a pipeline may hold, with a line about each."""
    phases = [(phase.made_by, f"all of: {', '.join(phase.passes)}") for phase in PHASES]
    ours = []
    for name in sorted(PASSES):
        loaded = pass_class(name)
        described = describe_options(loaded)
        ours.append((f"{name}{{{described}}}" if described else name, loaded.summary()))
    natives = [(name, native.summary) for name, native in sorted(NATIVE_PASSES.items())]
    return "\n".join(
        f"{title}:\n" + "".join(f"  {name:<30}  {summary}\n" for name, summary in rows)
        for title, rows in (("phases", phases), ("passes", ours), ("native passes", natives))
    )


class _Command:
    """One call of the command: what to do with every module of the input."""

    def __init__(self, options: argparse.Namespace, steps: Sequence[Step], folder: DumpFolder | None) -> None:
        self.options = options
        self.steps = steps
        self.folder = folder
        self.file = "<stdin>" if options.file == "-" else options.file

    def print_all(self) -> int:
        """Run the passes on each module and print it, or the error; one module's error does not stop the next."""
        status = 0
        printed = []
        for read in self._inputs():
            try:
                module, diagnostics = self._process(read)
            except AtollError as error:
                status = 1
                self._complain(error)
                continue
            for diagnostic in diagnostics:
                if not (self.options.verbose and diagnostic.severity == "remark"):  # the log has these
                    print(diagnostic.labelled, file=sys.stderr)
            printed.append(print_module(module, self.options.debug_info))
        self._write(f"\n{SEPARATOR}\n".join(printed))
        return status

    def verify_all(self) -> int:
        """Run the passes on each module and compare what they emit with what the text expects."""
        complaints: list[str] = []
        for text in self._texts():
            try:
                _, emitted = self._process(text)
            except AtollError as error:
                # An error without a diagnostic, such as that of a plan, has no line in this file.
                told = error.diagnostics if isinstance(error, CompileError) else ()
                emitted = list(told) or [Diagnostic("error", str(error))]
            complaints += differences(text, self.file, emitted)
        for complaint in complaints:
            print(f"error: {complaint}", file=sys.stderr)
        return 1 if complaints else 0

    def _inputs(self) -> Sequence[str | bytes | Path]:
        """What to parse: the file itself where it is one module, so that its locations have its name."""
        if self.options.split_input_file:
            return self._texts()
        return [sys.stdin.buffer.read()] if self.options.file == "-" else [Path(self.options.file)]

    def _texts(self) -> Sequence[str]:
        content = sys.stdin.buffer.read() if self.options.file == "-" else _read_bytes(Path(self.options.file))
        try:
            text = content.decode()
        except UnicodeDecodeError as error:
            remedy = "--split-input-file and --verify-diagnostics read text only"
            raise UsageError(f"not text: byte {error.start} is no UTF-8", self.file, remedy) from None
        return split_text(text) if self.options.split_input_file else [text]

    def _process(self, source: str | bytes | Path) -> tuple[ir.Module, list[Diagnostic]]:
        module = parse_file(source) if isinstance(source, Path) else parse_input(source)
        is_observing = self.options.print_ir_after is not None or self.folder is not None
        observer = self._observe if is_observing else None
        steps = self.steps or take_steps_left(module)
        with display.shown():
            return without_refused_choice(
                module, lambda module: run_passes(module, steps, observer, self.options.timing)
            )

    def _observe(self, step: Step, module: ir.Module) -> None:
        name = step_name(step)
        if self.options.print_ir_after in ("all", name):
            print(f"// -----// IR after {name} //----- //", file=sys.stderr)
            print(print_module(module, self.options.debug_info), end="", file=sys.stderr)
        if self.folder is not None:
            self.folder.write(name, print_module(module, self.options.debug_info))

    def _complain(self, error: AtollError) -> None:
        if self.options.debug:
            raise error
        if error.where.partition(":")[0] == NO_FILE:
            error.where = self.file + error.where.removeprefix(NO_FILE)
        print_error(error)

    def _write(self, text: str) -> None:
        if self.options.output is None:
            sys.stdout.write(text)
            return
        try:
            Path(self.options.output).write_text(text, encoding="utf-8")
        except OSError as error:
            what = f"cannot write: {error.strerror}"
            raise UsageError(what, self.options.output, "name a file in a folder that exists") from None


def _check_print_after(name: str | None, steps: Sequence[Step]) -> None:
    names = [step_name(step) for step in steps]
    if name not in (None, "all", *names):
        assert name is not None
        what = f"--print-ir-after: the pipeline has no pass {shown(name)}"
        raise UsageError(what, remedy=known_names(name, ["all", *names]))


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read: {error.strerror}", str(path), "name a file of MLIR text") from None
