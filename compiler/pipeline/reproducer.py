"""What reproduces a defect: the IR before the pass that failed, and the passes that were left, in one file.

`atoll opt FILE` runs it.
"""

import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from atoll.compiler.mlir.attributes import text_attribute
from atoll.compiler.mlir.bindings import ir
from atoll.compiler.mlir.ir_text import print_module, to_bytecode
from atoll.compiler.module.marks import PASSES_LEFT
from atoll.compiler.pipeline.pass_base import Step, step_name
from atoll.compiler.pipeline.registry import steps_of_text, text_of_steps


def write_reproducer(module: ir.Module, left: Sequence[Step]) -> Path | None:
    """The file, as text for people; None if no file can be written, which must not hide the defect."""
    with suppress(OSError):
        file = Path(tempfile.mkdtemp(prefix="atoll-")) / f"before-{step_name(left[0])}.mlir"
        _mark(module, left)
        file.write_text(print_module(module, debug_info=True), encoding="utf-8")
        return file
    return None


def take_steps_left(module: ir.Module) -> list[Step]:
    """The passes that a reproducer says to run; none of a module that is no reproducer."""
    text = text_attribute(module.operation.attributes, PASSES_LEFT)
    if text is None:
        return []
    del module.operation.attributes[PASSES_LEFT]
    return steps_of_text(text)


class CrashFile:
    """The reproducer for a native pass, there as long as that pass may end the process.

    Once it has, nothing can be written any more. It is bytecode, which takes a tenth of the time that text does.
    """

    def __init__(self) -> None:
        self._file: Path | None = None

    def write(self, module: ir.Module, left: Sequence[Step]) -> Path | None:
        """The file, in place of the one for the pass before; None if none can be written."""
        self.remove()
        with suppress(OSError):
            self._file = Path(tempfile.mkdtemp(prefix="atoll-")) / f"before-{step_name(left[0])}.mlirbc"
            _mark(module, left)
            self._file.write_bytes(to_bytecode(module))
            del module.operation.attributes[PASSES_LEFT]
        return self._file

    def remove(self) -> None:
        """Nothing ended the process."""
        if self._file is not None:
            with suppress(OSError):
                self._file.unlink(missing_ok=True)
                self._file.parent.rmdir()
            self._file = None


def _mark(module: ir.Module, left: Sequence[Step]) -> None:
    module.operation.attributes[PASSES_LEFT] = ir.StringAttr.get(text_of_steps(left), context=module.context)
