"""Writes `docs/api.md` and `docs/commands.md`, from docstrings and from the command line's own parsers.

    python docs/site/reference.py

The pages are committed, so that they can be read in the repository; `tests/test_reference.py` tells when they are old.
"""

import argparse
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

from atoll.compiler.commands import cli

import atoll

DOCS = Path(__file__).resolve().parent.parent
MADE = "<!-- Made by docs/site/reference.py. Change the docstrings, or the help of the options, and run it again. -->"

API = """\
What `import atoll` gives. Everything else is for those who [change atoll](architecture.md), and may change with any
release.
"""
COMMANDS = """\
One program, `atoll`, with a command for each thing to do; `atoll-opt` is `atoll opt`. `atoll COMMAND --help` says the
same. A target is a job in a Python file, a module in a file, or a saved program. An error is one sentence, and the exit
status is then 1.
"""

# Public to the rest of atoll's own code, which has them in common with nobody else.
INNER = {
    "Cluster.check_open",
    "Cluster.shared",
    "Compiled.call_flat",
    "Compiled.viewed",
    "CompiledAhead.put",
    "CompiledAhead.stats",
    "CompiledAhead.trace",
    "CompiledAhead.viewed",
    "Feed.fed",
    "Job.argument_names",
    "Job.name",
    "Lowered.viewed",
    "Report.of",
}

_ENTRY = re.compile(r"^(\w+(?:, \w+)*): ")


def pages() -> dict[str, str]:
    """The text of each page, by its file's name."""
    return {"api.md": _page("API", API, _names()), "commands.md": _page("Commands", COMMANDS, _commands())}


def _page(title: str, opening: str, parts: Iterator[str]) -> str:
    return "\n\n".join([f"# {title}", MADE, opening.strip(), *parts]) + "\n"


# The API.


def _names() -> Iterator[str]:
    for name in atoll.__all__:
        value = getattr(atoll, name)
        yield f"## `atoll.{name}`"
        if inspect.isclass(value):
            yield from _class(name, value)
        else:
            yield from _function(name, value)


def _class(name: str, value: type) -> Iterator[str]:
    if issubclass(value, Exception):
        bases = [base.__name__ for base in value.__mro__[1:] if base.__module__.startswith("atoll.")]
        if bases and bases[0] in atoll.__all__:
            yield f"An `atoll.{bases[0]}`."
    elif not inspect.isabstract(value) and _is_made_by_users(value):
        yield _signature(name, value)
    yield _text(value)
    members = [_member(*one) for one in _members(value) if f"{name}.{one[0]}" not in INNER]
    told = [_item(call, text) for call, text in members if text]
    plain = ", ".join(f"**`{call}`**" for call, text in members if not text)
    if members:
        yield "What it has:"
        yield "\n".join([*told, *([f"- {plain}: what the name says."] if plain else [])])


def _member(name: str, found: object) -> tuple[str, str]:
    """How a member is called, and what its docstring says, if it has one."""
    if isinstance(found, property):
        return f".{name}", _text(found.fget)
    return _call(f".{name}", found, skip_self=not isinstance(found, (classmethod, staticmethod))), _text(found)


def _item(call: str, text: str) -> str:
    """An item of a list; its first sentence goes on in the line of the name."""
    if re.match(r"[A-Z][a-z]* ", text):
        text = text[0].lower() + text[1:]
    return textwrap.indent(f"**`{call}`**: {text}", "  ").replace("  ", "- ", 1)


def _is_made_by_users(value: type) -> bool:
    return value in (atoll.Cluster, atoll.Feed, atoll.Job, atoll.Plan)


def _members(value: type) -> Iterator[tuple[str, object]]:
    """Its public properties and methods, and those of atoll's classes that it extends."""
    seen: dict[str, object] = {}
    for owner in reversed([one for one in value.__mro__ if one.__module__.startswith("atoll.")]):
        seen.update({name: found for name, found in vars(owner).items() if not name.startswith("_")})
    for name, found in seen.items():
        if isinstance(found, property) or inspect.isfunction(_bare(found)):
            yield name, found


def _bare(found: object) -> object:
    return found.__func__ if isinstance(found, (classmethod, staticmethod)) else found


def _function(name: str, value: Callable[..., object]) -> Iterator[str]:
    yield _signature(name, value)
    yield _text(value)


def _signature(name: str, value: Callable[..., object]) -> str:
    call = _call(f"atoll.{name}", value)
    if len(call) > 100:
        name, _, arguments = call.partition("(")
        lines = textwrap.wrap(arguments.removesuffix(")"), 96, break_on_hyphens=False)
        call = f"{name}(\n" + "\n".join(f"    {line}" for line in lines) + "\n)"
    return f"```text\n{call}\n```"


def _call(name: str, value: object, skip_self: bool = False) -> str:
    """How it is called: names and defaults, without types, which are in the code."""
    signature = inspect.signature(_bare(value))  # type: ignore[arg-type] # a function by now
    parameters = list(signature.parameters.values())
    if skip_self or isinstance(value, classmethod):
        parameters = parameters[1:]
    bare = [one.replace(annotation=one.empty, default=_shown(one.default)) for one in parameters]
    text = str(signature.replace(parameters=bare, return_annotation=signature.empty))
    return f"{name}{text}"


class _Source:
    """A default that is printed as it is written, whatever its fields say."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


def _shown(default: object) -> object:
    return _Source("Plan()") if isinstance(default, atoll.Plan) else default


def _text(value: object) -> str:
    """A docstring as Markdown, in which a paragraph of `name: what` lines is a list."""
    parts = inspect.cleandoc(getattr(_bare(value), "__doc__", None) or "").split("\n\n")
    listed = [_list(part) if _ENTRY.match(part) else part for part in parts]
    for number in range(len(parts) - 1, 0, -1):
        if listed[number - 1].startswith("- ") and listed[number] != parts[number]:
            listed.insert(number, "Arguments:")  # or two lists would be one
    return "\n\n".join(listed)


def _list(part: str) -> str:
    lines = [_ENTRY.sub(r"- `\1`: ", line) if _ENTRY.match(line) else line for line in part.splitlines()]
    return "\n".join(line if line.startswith("- ") else f"  {line.strip()}" for line in lines)


# The command line.


def _commands() -> Iterator[str]:
    parser = cli._parser()
    (commands,) = (one for one in parser._actions if isinstance(one, argparse._SubParsersAction))
    for name, command in commands.choices.items():
        yield f"## `atoll {name}`"
        yield " ".join(command.description.split())  # of which help on a terminal makes lines
        yield f"```text\n{command.epilog.removeprefix('example: ')}\n```"
        actions = [one for one in command._actions if one.dest != "help"]
        yield "\n".join(["| | |", "|---|---|", *(f"| `{_spelled(one)}` | {one.help} |" for one in actions)])


def _spelled(action: argparse.Action) -> str:
    takes = action.metavar or ("|".join(action.choices) if action.choices else "")
    if action.nargs == 0:
        takes = ""
    return " ".join(filter(None, [", ".join(action.option_strings), str(takes).replace("|", "\\|")]))


if __name__ == "__main__":
    for file, text in pages().items():
        (DOCS / file).write_text(text, encoding="utf-8")
