"""The stage text for a cut, made of the scopes that its layers are in."""

import re
from collections.abc import Iterable, Sequence
from itertools import groupby

from atoll.compiler.errors import PlanError
from atoll.compiler.plan.stage_text import Component, StageText

Path = tuple[str, ...]
_NUMBERED = re.compile(r"(.*?)(\d+)")


def stage_text(names: Sequence[Sequence[Path]], begins: Sequence[int]) -> str | None:
    """The scopes of each stage, the outermost that are in one stage alone; None if these do not tell stages apart."""
    stage_of: dict[Path, set[int]] = {}
    own: dict[Path, set[int]] = {}
    for layer, paths in enumerate(names):
        stage = sum(begin <= layer for begin in begins) - 1
        for path in paths:
            own.setdefault(path, set()).add(stage)
            for depth in range(1, len(path) + 1):
                stage_of.setdefault(path[:depth], set()).add(stage)
    torn = (path for paths in names for path in paths if path and len(own[path]) > 1)
    if any(torn):
        return None
    claims: list[list[Path]] = [[] for _ in begins]
    for path, stages in stage_of.items():
        if len(stages) == 1 and not (len(path) > 1 and len(stage_of[path[:-1]]) == 1):
            claims[min(stages)].append(path)
    if not all(claims):
        return None
    text = " | ".join(", ".join(_patterns(paths)) for paths in claims)
    try:
        return str(StageText.parse(text))
    except PlanError:  # a scope has a name that the language of stages has no word for
        return None


def _patterns(paths: Iterable[Path]) -> list[str]:
    """Patterns for paths, those that count on as one range."""
    found = []
    for (stem, _), rows in groupby(enumerate(map(_split, paths)), key=lambda one: _run(*one)):
        run = [number for _, (_, number) in rows]
        numbers = [number for number in run if number is not None]
        if not numbers:
            found += [stem] * len(run)
        elif len(numbers) == 1 and not stem.endswith("/"):
            found.append(f"{stem}{numbers[0]}")
        else:
            found.append(f"{stem.removesuffix('/')}[{min(numbers)}..{max(numbers)}]")
    return found


def _run(place: int, split: tuple[str, int | None]) -> tuple[str, int | None]:
    """What paths of one range have in common: all but the number, and how far it is ahead of the place."""
    stem, number = split
    return stem, None if number is None else number - place


def _split(path: Path) -> tuple[str, int | None]:
    """`layer_3` into `layer_` and 3, and `layers/3` into `layers/` and 3."""
    text = "/".join(str(Component(one)) for one in path)
    match = None if text.endswith('"') else _NUMBERED.fullmatch(text)
    return (match[1], int(match[2])) if match and match[1] else (text, None)
