"""The command line: one program with subcommands. Each is a module with `run(options)`, loaded when it is asked for."""

import argparse
import errno
import importlib
import io
import sys
import textwrap
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from atoll.compiler import guard, logs
from atoll.compiler.commands.parser import CommandParser, PrintVersion
from atoll.compiler.errors import AtollError, InternalError, UsageError
from atoll.compiler.terminal import print_error
from atoll.compiler.tracebacks import first_line


def main(arguments: Sequence[str]) -> int:
    """Run a command in a process of its own, so that a native abort too ends in a sentence."""
    options = _parser().parse_args(arguments)
    return guard.guarded(lambda: run(options))


def run_here(arguments: Sequence[str]) -> int:
    """Run a command in this process."""
    return run(_parser().parse_args(arguments))


def run(options: argparse.Namespace) -> int:
    """Run a command, print its errors, and return its exit status: one sentence each, a traceback only with --debug."""
    command: Callable[[argparse.Namespace], int] = importlib.import_module(options.module).run
    try:
        with logs.told(options.verbose):
            status = command(options)
        sys.stdout.flush()
        return status
    except AtollError as error:
        _tell(error, options.debug)
    except BrokenPipeError:  # whoever read our output has seen enough
        sys.stdout = io.StringIO()  # what is left there must not be flushed at exit
    except Exception as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            told: AtollError = UsageError(
                "cannot write: no space left on the device", remedy="make room, or write elsewhere"
            )
        else:
            what = f"internal error, {type(error).__name__}: {first_line(error)}"
            told = InternalError(what, remedy="this is a defect of atoll; please report it with --debug")
        _tell(told, options.debug)
    return 1


def _tell(error: AtollError, debug: bool) -> None:
    if debug:
        traceback.print_exc()
    print_error(error)


@dataclass(frozen=True)
class _Command:
    """A subcommand: what `--help` says of it, and what adds its arguments."""

    name: str
    module: str
    summary: str
    example: str
    add_arguments: Callable[[argparse.ArgumentParser], None]


_MODULE = "FILE.mlir, StableHLO or a module at any phase"
_SAVED = "; or FILE.atoll"


def _opt_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("file", metavar="FILE", nargs="?", help="MLIR text or bytecode, or a file of jax.export; - for standard input")
    add("--passes", metavar="PIPELINE", default="", help='what to run: "inline-calls, cse", with options in {braces}')
    add("--list-passes", action="store_true", help="list passes and phases with their options, and stop")
    add("--print-ir-after", metavar="PASS", help="print the IR after this pass, or after `all`, on standard error")
    add("--dump-dir", metavar="DIR", help="write the IR after every pass into numbered files")
    add("--split-input-file", action="store_true", help="treat what is between lines of `// -----` as separate modules")
    add("--verify-diagnostics", action="store_true", help="compare errors with the text's expected-error comments")
    add("--timing", action="store_true", help="print how long each pass took, on standard error")
    add("--debug-info", action="store_true", help="print locations")
    add("-o", "--output", metavar="FILE", help="write there instead of to standard output")


def _target_arguments(
    parser: argparse.ArgumentParser,
    kinds: str = "",
    islands: str = '"2 x cpu[4]"',
    plan: str | None = "stages=2, microbatches=8",
) -> None:
    """What the commands take that make something of a TARGET. kinds: of targets, beside the usual ones.

    islands, plan: examples; None for a command that takes no plan.
    """
    add = parser.add_argument
    add("target", metavar="TARGET", help=f"FILE.py:NAME or MODULE:NAME, an atoll.Job; or {_MODULE}{kinds}")
    add("--topology", metavar="T", help=f"the islands, such as {islands}")
    if plan is not None:
        add("--plan", metavar="P", help=f'how to cut, such as "{plan}"')
    for name, what in (("batch", "have the batch on axis 0"), ("donate", "give their memory away")):
        add(f"--{name}", metavar="NAME,...", help=f"the arguments of StableHLO that {what}")


def _dump_arguments(parser: argparse.ArgumentParser) -> None:
    _target_arguments(parser)
    add = parser.add_argument
    add("--phase", metavar="NAME", help="go as far as this phase (default: the last one)")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--after", metavar="PASS", help="print the IR after this pass")
    what.add_argument("--all", metavar="DIR", help="write the IR after every pass into numbered files")
    add("--debug-info", action="store_true", help="print locations: the user's files and lines")


def _view_arguments(parser: argparse.ArgumentParser) -> None:
    _target_arguments(parser, kinds=_SAVED)
    add = parser.add_argument
    add("-o", "--output", metavar="FILE", help="where to write it (default: view.html, or view.json)")
    add("--open", action="store_true", help="open the page in a browser")
    formats = ("html", "model-explorer")
    add("--format", choices=formats, default=formats[0], help="a page, or what Google's Model Explorer opens")


def _run_arguments(parser: argparse.ArgumentParser) -> None:
    _target_arguments(parser, kinds=_SAVED)
    add = parser.add_argument
    add("--steps", metavar="N", type=int, default=1, help="how often; results replace donated arguments (default: 1)")
    add("--check", action="store_true", help="compare every result with that of jax.jit")
    add("--seed", metavar="S", type=int, default=0, help="for arguments of which only the shape is known (default: 0)")
    add("--save", metavar="FILE", help="save the program, for atoll.load and atoll run")
    add("--view", metavar="FILE", help="write a page as atoll view does, with what the last step took")


def _compile_arguments(parser: argparse.ArgumentParser) -> None:
    _target_arguments(parser, islands='"2 x v5e[2x2](data=2, model=2)", which need not be here')
    told = "save the program, with what was compiled, for atoll.load and atoll run"
    parser.add_argument("--save", metavar="FILE", help=told)


def _plan_arguments(parser: argparse.ArgumentParser) -> None:
    _target_arguments(parser, islands='"4 x cpu[1] 2 GiB", which need not be here', plan=None)
    parser.add_argument("--json", action="store_true", help="print all that is known of the plans as JSON")


def _simulate_arguments(parser: argparse.ArgumentParser) -> None:
    _target_arguments(parser, islands='"1 x v4[16x16x12](data=256, model=12); link * <-> * : 5 TB/s, 100 us"')
    add = parser.add_argument
    add("--copies", metavar="N,...", default="1,2,4,8", help="how often the islands are there (default: 1,2,4,8)")
    rates = "device=5 y, restart=10 min, save=30 s"
    add("--failures", metavar="F", help=f'how often things fail, and what that costs, such as "{rates}"')
    add("--seed", metavar="S", type=int, default=0, help="of the years of failures (default: 0)")
    add("--svg", metavar="FILE", help="draw it there")
    add("--json", action="store_true", help="print all that is known as JSON")


def _calibrate_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--topology", metavar="T", help='the islands, such as "4 x cpu[1]"')
    add("--again", action="store_true", help="measure even if that was done on this machine before")


def _demo_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--dir", metavar="DIR", default="atoll-demo", help="where to write the IR (default: atoll-demo)"
    )


def _up_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--topology", metavar="T", help='the islands, such as "2 x cpu[4]"')
    add("--cluster", metavar="C", default="ray", help='where: "ray", "auto" or "HOST:PORT" (default: ray)')
    add("--watchdog", metavar="S", type=float, default=30.0, help="seconds a process may say nothing (default: 30)")


def _status_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print it for programs")


def _down_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--force", action="store_true", help="even if a program uses it, which loses its islands")


def _doctor_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print it for programs")
    parser.add_argument(
        "--timeout", metavar="S", type=float, default=60.0, help="seconds to wait for jax's devices (default: 60)"
    )


_COMMANDS = (
    _Command(
        "dump",
        "atoll.compiler.commands.dump",
        "print the IR of a job at any phase",
        'atoll dump train.py:job --topology "2 x cpu[4]" --phase stablehlo --debug-info',
        _dump_arguments,
    ),
    _Command(
        "view",
        "atoll.compiler.commands.view",
        "write a page that shows what is made of a job, for a browser",
        'atoll view train.py:job --topology "2 x cpu[4]" -o view.html --open',
        _view_arguments,
    ),
    _Command(
        "run",
        "atoll.compiler.commands.run",
        "compile a job and run it on its islands",
        'atoll run train.py:job --topology "2 x cpu[1]" --steps 3 --check',
        _run_arguments,
    ),
    _Command(
        "compile",
        "atoll.compiler.commands.compile",
        "compile a job for islands that need not be here, and say what it costs",
        'atoll compile train.py:job --topology "2 x v5e[2x2](data=2, model=2)" --plan "stages=2, microbatches=8"',
        _compile_arguments,
    ),
    _Command(
        "plan",
        "atoll.compiler.commands.plan",
        "find the plan of a job whose step should take the least time, for islands that need not be here",
        'atoll plan train.py:job --topology "4 x v5e[2x2](data=2, model=2)"',
        _plan_arguments,
    ),
    _Command(
        "simulate",
        "atoll.compiler.commands.simulate",
        "predict how a job does on more and more islands, which need not be here, and in a year of failures",
        'atoll simulate train.py:job --topology "2 x v5e[4x4]" --plan "stages=2, microbatches=8" --copies 1,4,16,64',
        _simulate_arguments,
    ),
    _Command(
        "calibrate",
        "atoll.compiler.commands.calibrate",
        "measure what the CPU devices of this machine do, and write it into a topology",
        'atoll calibrate --topology "4 x cpu[1]"',
        _calibrate_arguments,
    ),
    _Command(
        "opt",
        "atoll.compiler.commands.opt",
        "run passes on MLIR text",
        'atoll opt model.mlir --passes "inline-calls, cse" --print-ir-after all',
        _opt_arguments,
    ),
    _Command(
        "demo",
        "atoll.compiler.commands.demo",
        "show what atoll does with a language model",
        "atoll demo",
        _demo_arguments,
    ),
    _Command(
        "up",
        "atoll.compiler.commands.up",
        "start the processes of islands, and keep them for one program after another",
        'atoll up --topology "2 x cpu[1]"',
        _up_arguments,
    ),
    _Command(
        "status",
        "atoll.compiler.commands.status",
        "say what atoll up has started, who uses it, and what is on it",
        "atoll status",
        _status_arguments,
    ),
    _Command(
        "down",
        "atoll.compiler.commands.down",
        "end what atoll up has started",
        "atoll down",
        _down_arguments,
    ),
    _Command(
        "doctor",
        "atoll.compiler.commands.doctor",
        "say what is installed and set here, what would fail, and what to do",
        "atoll doctor",
        _doctor_arguments,
    ),
)


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog="atoll",
        description="Runs one JAX function on many islands of accelerators.",
        epilog="example: atoll demo",
    )
    parser.add_argument("--version", action=PrintVersion, nargs=0, help="print the version, and stop")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in _COMMANDS:
        subparser = subparsers.add_parser(
            command.name,
            help=command.summary,
            description=textwrap.fill(command.summary[0].upper() + command.summary[1:] + "."),
            epilog=f"example: {command.example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,  # the example stays on its line, to be copied
        )
        command.add_arguments(subparser)
        subparser.add_argument(
            "--verbose", action="store_true", help="say which pass runs, and why one has nothing to do"
        )
        subparser.add_argument("--debug", action="store_true", help="print the traceback of an error")
        subparser.set_defaults(module=command.module)
    return parser
