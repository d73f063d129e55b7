"""Modules from and to text and bytecode."""

import io
from collections.abc import Callable
from pathlib import Path

from atoll.compiler import guard
from atoll.compiler.files import check_readable
from atoll.compiler.mlir.bindings import ir, new_context
from atoll.compiler.mlir.diagnostics import collecting, failure

# The line between modules of one file, as in MLIR's own tools.
SEPARATOR = "// -----"


def parse_file(path: Path) -> ir.Module:
    """Parse and verify a file of MLIR text or bytecode, in a context of its own."""
    check_readable(path, "name a file of MLIR text or bytecode, or - for standard input")
    return _parse(lambda context: ir.Module.parseFile(str(path), context))


def parse_text(text: str | bytes) -> ir.Module:
    """Parse and verify MLIR text or bytecode, in a context of its own; its places are in a file called `-`."""
    return _parse(lambda context: ir.Module.parse(text, context))


def print_module(module: ir.Module, debug_info: bool = False) -> str:
    """The module as text that parses to the same module; with its locations if `debug_info` is set."""
    text = module.operation.get_asm(enable_debug_info=debug_info)
    assert isinstance(text, str)
    return text if text.endswith("\n") else text + "\n"


def to_bytecode(module: ir.Module) -> bytes:
    """The module as bytecode, locations included."""
    bytecode = io.BytesIO()
    module.operation.write_bytecode(bytecode)
    return bytecode.getvalue()


def copy_module(module: ir.Module) -> ir.Module:
    """A copy in a context of its own. The module that jax hands out must not be changed: it is in jax's cache."""
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


def _parse(read: Callable[[ir.Context], ir.Module]) -> ir.Module:
    guard.announce("parsing")
    context = new_context()
    with collecting(context) as diagnostics:
        try:
            return read(context)
        except ir.MLIRError:
            raise failure(diagnostics, remedy="correct the IR there") from None
