"""A folder with one numbered file of IR a pass, in the order in which they ran."""

import itertools
import os
import re
from pathlib import Path

from atoll.compiler.errors import AtollError, UsageError
from atoll.compiler.mlir.attributes import text_attribute
from atoll.compiler.mlir.bindings import ir
from atoll.compiler.mlir.ir_text import print_module
from atoll.compiler.pipeline.pass_base import Step, step_name

_OURS = re.compile(r"\d{2,}-[a-z0-9-]+\.mlir")


# Names a folder in which every compilation writes its IR into a folder of its own.
DUMP_DIR = "ATOLL_DUMP_DIR"


class DumpFolder:
    """Writes `00-input.mlir`, `01-inline-calls.mlir` and so on."""

    def __init__(self, path: Path, source: Path | None = None) -> None:
        """Make the folder; what an earlier dump left there goes, so that the files are those of one run.

        source: the file that is read, which must not go with them.
        """
        if source is not None and source.resolve().parent == path.resolve():
            raise UsageError(f"{source} would be overwritten", str(path), "name another folder for the dump")
        self.path = path
        self.count = 0
        try:
            path.mkdir(parents=True, exist_ok=True)
            for left in path.iterdir():
                if _OURS.fullmatch(left.name):
                    left.unlink()
        except OSError as error:
            raise self._refusal(error) from None

    def write(self, name: str, text: str) -> Path:
        file = self.path / f"{self.count:02d}-{name}.mlir"
        self.count += 1
        try:
            file.write_text(text, encoding="utf-8")
        except OSError as error:
            raise self._refusal(error) from None
        return file

    def _refusal(self, error: OSError) -> AtollError:
        return UsageError(
            f"cannot write IR here: {error.strerror}", str(self.path), "name a folder that can be written"
        )


class CompileDump:
    """The IR of one compilation, locations included: as it came, and after every pass."""

    def __init__(self, folder: DumpFolder, module: ir.Module) -> None:
        self._folder = folder
        self._write("input", module)

    def __call__(self, step: Step, module: ir.Module) -> None:
        self._write(step_name(step), module)

    def _write(self, name: str, module: ir.Module) -> None:
        self._folder.write(name, print_module(module, debug_info=True))


def compile_dump(module: ir.Module) -> CompileDump | None:
    """What writes the passes' IR if the environment asks for it, into `DIR/00-NAME`, `DIR/01-NAME` and so on."""
    parent = os.environ.get(DUMP_DIR)
    if not parent:
        return None
    name = re.sub(r"\W+", "-", text_attribute(module.operation.attributes, "sym_name") or "module")
    for number in itertools.count():
        path = Path(parent) / f"{number:02d}-{name}"
        if not any(Path(parent).glob(f"{number:02d}-*")):
            return CompileDump(DumpFolder(path), module)
    raise AssertionError("numbers do not end")
