"""The commands `atoll` and `atoll-opt`."""

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """The command `atoll`; returns the exit status."""
    from atoll.compiler.commands.cli import main as run

    return run(sys.argv[1:] if arguments is None else arguments)


def main_opt(arguments: Sequence[str] | None = None) -> int:
    """The command `atoll-opt`, which is `atoll opt`."""
    return main(["opt", *(sys.argv[1:] if arguments is None else arguments)])


if __name__ == "__main__":
    sys.exit(main())
