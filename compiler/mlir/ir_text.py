"""Modules from and to text and bytecode."""

import io
from collections.abc import Callable
from pathlib import Path

from atoll.compiler import activity
from atoll.compiler.errors import CompileError
from atoll.compiler.files import check_readable
from atoll.compiler.mlir.artifacts import exported_module, is_portable, remedy_for
from atoll.compiler.mlir.bindings import ir, new_context, stablehlo
from atoll.compiler.mlir.diagnostics import NO_FILE, Refusal, collecting, failure
from atoll.compiler.mlir.resources import write_out_resources

# The line between modules of one file, as in MLIR's own tools.
SEPARATOR = "// -----"


def parse_file(path: Path) -> ir.Module:
    """Parse and verify a file of MLIR text or bytecode, or of `jax.export`, in a context of its own."""
    check_readable(path, "name a file of MLIR text or bytecode, or - for standard input")
    content = path.read_bytes()
    if not path.is_file():  # a pipe, which can be read only once
        return parse_input(content)
    try:
        return _from_elsewhere(_parse(content, lambda context: ir.Module.parseFile(str(path), context)))
    except CompileError as error:
        if error.where == NO_FILE:  # bytecode has no lines, and MLIR forgets where it is from
            error.where = str(path)
        raise


def parse_text(text: str | bytes) -> ir.Module:
    """Parse and verify MLIR that atoll has written, text or bytecode, in a context of its own.

    Its places are in a file called `-`.
    """
    content = text.encode(errors="surrogateescape") if isinstance(text, str) else text
    return _parse(content, lambda context: ir.Module.parse(text, context))


def parse_input(content: str | bytes) -> ir.Module:
    """The same of what somebody has written, who may have chosen any form for the numbers of constants."""
    return _from_elsewhere(parse_text(content))


def copy_of_foreign(module: ir.Module) -> ir.Module:
    """A copy of what jax or a library of the user's has made. Theirs must not be changed: it is in jax's cache."""
    return _from_elsewhere(copy_module(module))


def print_module(module: ir.Module, debug_info: bool = False, most_numbers: int | None = None) -> str:
    """The module as text that parses to the same module; with its locations if `debug_info` is set.

    most_numbers: of constants with more numbers the text has only the type, and parses to nothing any more.
    """
    text = module.operation.get_asm(enable_debug_info=debug_info, large_elements_limit=most_numbers)
    assert isinstance(text, str)
    return text if text.endswith("\n") else text + "\n"


def to_bytecode(module: ir.Module) -> bytes:
    """The module as bytecode, locations included."""
    bytecode = io.BytesIO()
    module.operation.write_bytecode(bytecode)
    return bytecode.getvalue()


def copy_module(module: ir.Module) -> ir.Module:
    """A copy in a context of its own."""
    return parse_text(to_bytecode(module))


def split_text(text: str) -> list[str]:
    """The modules of a file, each padded with empty lines so that its line numbers are those of the file."""
    parts: list[str] = []
    start, current = 0, list[str]()
    for number, line in enumerate(text.split("\n")):
        if line.rstrip() == SEPARATOR:
            parts.append("\n" * start + "\n".join(current) + "\n")
            start, current = number + 1, []
        else:
            current.append(line)
    last = "\n" * start + "\n".join(current)
    return [*parts, last] if last.strip() or not parts else parts


def _from_elsewhere(module: ir.Module) -> ir.Module:
    """A module from which everything behind can read all constants."""
    with collecting(module.context) as diagnostics:
        try:
            write_out_resources(module)
        except Refusal as error:
            error.emit()
            error.diagnostics = tuple(diagnostics)
            raise
    return module


def _parse(content: bytes, read: Callable[[ir.Context], ir.Module]) -> ir.Module:
    """The module that some bytes hold. read: reads it if MLIR can do so by itself."""
    activity.announce("parsing")
    context = new_context()
    artifact = content if is_portable(content) else exported_module(content)
    with collecting(context) as diagnostics:
        try:
            return read(context) if artifact is None else stablehlo.deserialize_portable_artifact(context, artifact)
        except (ir.MLIRError, ValueError):
            error = failure(diagnostics)
            error.remedy = remedy_for(content, error.what)
            raise error from None
