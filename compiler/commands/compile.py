"""`atoll compile`: compiles a job, or a module at any phase, for islands that need not be here, and reports on it."""

import argparse
import contextlib
import sys

from atoll.compiler.commands.lowering import Asked, lower_target, open_target


def run(options: argparse.Namespace) -> int:
    """The command. A plan that does not fit is an error, for which the exit status is 1."""
    asked = Asked.of(options)
    with contextlib.redirect_stdout(sys.stderr):  # what the user's code prints; standard output is for the report
        lowered = lower_target(open_target(options, asked), asked)
    with lowered.compile() as compiled:
        print(compiled.report())
        if options.save is not None:
            compiled.save(options.save)
    return 0
