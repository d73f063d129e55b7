"""Runs every native pass on every module of a corpus, each pass in a process of its own; prints a line of JSON a pass.

Run by `test_native_passes.py` as a script, as a pass may end the process.
"""

import functools
import json
import os
import sys
import traceback
from collections.abc import Iterator

from atoll.compiler.errors import CompileError
from atoll.compiler.mlir.bindings import ir
from atoll.compiler.mlir.ir_text import parse_text, print_module
from atoll.compiler.pipeline.native_passes import NATIVE_PASSES
from atoll.compiler.pipeline.pass_manager import run_passes
from atoll.compiler.pipeline.registry import steps_of_text
from native_corpus import CORPUS

# Passes that without an option do nothing.
PASS_TEXTS = {"sdy-insert-explicit-reshards": "sdy-insert-explicit-reshards{enable-full-version=true}"}


@functools.cache
def parsed() -> dict[str, tuple[ir.Module, str]]:
    """The corpus, each module with its text. Every child has its own copy, which it may change."""
    modules = {title: parse_text(text) for title, text in CORPUS.items()}
    return {title: (module, print_module(module, debug_info=True)) for title, module in modules.items()}


def outcomes(name: str) -> Iterator[tuple[str, str]]:
    """Module by module, what the pass did with it: `changed`, `unchanged`, or the error."""
    for title, (module, before) in parsed().items():
        yield title, "aborted"  # unless the next line overwrites it
        try:
            run_passes(module, steps_of_text(PASS_TEXTS.get(name, name)))
            after = print_module(module, debug_info=True)
            parse_text(after)
        except CompileError as error:
            yield title, str(error)
        else:
            yield title, "unchanged" if after == before else "changed"


def in_child(name: str) -> dict[str, str]:
    """The outcomes of a pass, from a process that may die of it."""
    reading, writing = os.pipe()
    if not os.fork():
        try:
            for outcome in outcomes(name):
                os.write(writing, json.dumps(outcome).encode() + b"\n")
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as lines:
        found = dict(map(json.loads, lines))
    os.wait()
    return found


if __name__ == "__main__":
    parsed()  # before there are children
    for name in sys.argv[1:] or NATIVE_PASSES:
        print(json.dumps({"pass": name, "outcomes": in_child(name)}), flush=True)
