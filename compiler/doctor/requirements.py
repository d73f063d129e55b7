"""What atoll requires, as its packaging says, and what of that is installed."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata

_REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)(?P<extras>\[[^]]*\])?\s*\(?(?:>=\s*(?P<least>[\w.]+))?")
_EXTRA = re.compile(r"""extra\s*==\s*["']([\w.-]+)["']""")


@dataclass(frozen=True)
class Requirement:
    """A package. least: the version from which on it will do. extra: of atoll's that wants it; empty for all of atoll.

    version: what is installed; None if nothing is.
    """

    name: str
    least: str
    extra: str = ""
    version: str | None = None

    @property
    def is_old(self) -> bool:
        return self.version is not None and numbers(self.version) < numbers(self.least)


def read(lines: Iterable[str], versions: Mapping[str, str]) -> list[Requirement]:
    """Requirements as metadata writes them: `ray>=2.60; extra == "ray"`. versions: of what is installed.

    Extras that want atoll itself are for its developers, and left out.
    """
    found = []
    for line in lines:
        package, _, condition = line.partition(";")
        match, extra = _REQUIREMENT.match(package.strip()), _EXTRA.search(condition)
        if match is not None:
            name = match["name"]
            one = Requirement(name, match["least"] or "", extra[1] if extra else "", versions.get(name))
            found.append(one)
    developers = {one.extra for one in found if one.name == "atoll"}
    return [one for one in found if one.extra not in developers]


def numbers(version: str) -> tuple[int, ...]:
    """A version as numbers that can be compared: `0.12.0.dev3` as 0, 12, 0."""
    leading = re.match(r"\d+(\.\d+)*", version)
    return tuple(map(int, leading[0].split("."))) if leading else ()


def installed() -> tuple[str | None, list[Requirement]]:
    """The version of atoll, and what it requires; None and nothing if it was not installed."""
    try:
        lines = metadata.requires("atoll") or []
    except metadata.PackageNotFoundError:
        return None, []
    versions = {}
    for one in read(lines, {}):
        try:
            versions[one.name] = metadata.version(one.name)
        except metadata.PackageNotFoundError:
            continue
    return metadata.version("atoll"), read(lines, versions)
