"""`atoll compile`: compiles a job, or a module at any phase, for islands that need not be here, and reports on it."""

import argparse
import contextlib
import sys

from atoll.compiler.commands.lowering import Asked, lower_target, open_target
from atoll.compiler.compiled import Compiled
from atoll.compiler.compiled_ahead import CompiledAhead
from atoll.compiler.files import check_writable
from atoll.compiler.saving import saved_text
from atoll.runtime.program_file import load_program


def run(options: argparse.Namespace) -> int:
    """The command. A plan that does not fit is an error, for which the exit status is 1."""
    asked = Asked.of(options)
    check_writable(options.save)
    with contextlib.redirect_stdout(sys.stderr):  # what the user's code prints; standard output is for the report
        lowered = lower_target(open_target(options, asked), asked)
    with lowered.compile() as compiled:
        print(compiled.report(), flush=True)  # so that what is told of the file comes after it
        if options.save is not None:
            _save(compiled, options.save)
    return 0


def _save(compiled: Compiled | CompiledAhead, path: str) -> None:
    """Save it with what XLA has made of it, so that machines of the same kind need not compile it."""
    if isinstance(compiled, Compiled):
        compiled.save(path, executables=True)
    else:
        compiled.save(path)
    print(saved_text(load_program(path), path), file=sys.stderr)
