"""How the command line is read, and what is said of one that cannot be."""

import argparse
from collections.abc import Sequence
from typing import Any, NoReturn


class CommandParser(argparse.ArgumentParser):
    """As Python's, but what it does not know is told of by the command that was given it, with what is near.

    Options are not shortened: `--top` may be meant for another option than the one that happens to begin so.
    """

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 (those of the base class)
        super().__init__(**options, allow_abbrev=False)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:  # noqa: ANN401 (as the base class)
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self._refuse(unknown)
        return found, unknown

    def _refuse(self, unknown: Sequence[str]) -> NoReturn:
        from atoll.compiler.text.language import known_names  # loads a parser generator, which help can do without

        option = next((one.partition("=")[0] for one in unknown if one.startswith("-")), None)
        if option is None:
            self.error(f"{unknown[0]!r} is one argument too many; put what has spaces in quotes")
        self.error(f"there is no option {option}; {known_names(option, self._long_options())}")

    def _long_options(self) -> list[str]:
        return [name for name in self._option_string_actions if name.startswith("--")]


class PrintVersion(argparse.Action):
    """Prints the version of atoll, and ends; asked for only then, as to look it up takes its time."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from importlib import metadata

        try:
            print(f"atoll {metadata.version('atoll')}")
        except metadata.PackageNotFoundError:
            print("atoll, which is not installed as a package")
        parser.exit()
