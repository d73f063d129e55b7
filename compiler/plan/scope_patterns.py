"""Finds the stage that a scope, or the path of a parameter, belongs to by the patterns of a plan."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from atoll.compiler.errors import PlanError
from atoll.compiler.plan.resolved_plan import ResolvedPlan
from atoll.compiler.plan.stage_text import Component, Pattern
from atoll.compiler.topology.topology import Topology
from atoll.compiler.tracebacks import caller

# The keys in a pytree path: `state['params'].layers[0]` has the components state, params, layers, 0.
_KEY = re.compile(r"\['?([^\]']*)'?\]|\.?([^.\[\]]+)")

# How many scopes a message lists.
_MOST_LISTED = 40


def path_components(path: str) -> tuple[str, ...]:
    """The components of a pytree path."""
    return tuple(bracketed or plain for bracketed, plain in _KEY.findall(path))


@dataclass
class ScopePatterns:
    """The patterns of a plan, stage by stage; remembers which of them matched anything."""

    stages: Sequence[Sequence[Pattern]]
    matched: set[Pattern] = field(default_factory=set)

    @classmethod
    def of(cls, plan: ResolvedPlan, topology: Topology | None) -> "ScopePatterns | None":
        """The plan's patterns; None if it has none, so that the cut is automatic."""
        if plan.placement is not None:
            assert topology is not None
            return cls(_by_island(plan.placement, topology))
        return None if plan.scopes is None else cls(plan.scopes.stages)

    def stage_of(self, path: tuple[str, ...], where: str = "") -> int | None:
        """The stage whose patterns match the path; PlanError if two stages claim it."""
        found: dict[int, Pattern] = {}
        for stage, pattern in self._candidates(path):
            if _matches(pattern, path):
                self.matched.add(pattern)
                found.setdefault(stage, pattern)
        if len(found) > 1:
            (first, one), (second, other) = list(found.items())[:2]
            what = f"{'/'.join(path)} is claimed by stage {first} ({one}) and stage {second} ({other})"
            raise PlanError(what, where, "write patterns that do not overlap")
        return next(iter(found), None)

    def check_all_matched(self, scopes: Sequence[str], parameters: Sequence[str]) -> None:
        """PlanError for a pattern that matched neither a scope nor a parameter; it lists those that exist."""
        for stage, patterns in enumerate(self.stages):
            for pattern in patterns:
                if pattern not in self.matched:
                    what = f"pattern {pattern} of stage {stage} matches no scope and no parameter"
                    remedy = f"the program's scopes are {listed(scopes)}"
                    raise PlanError(
                        what, caller() or "plan", remedy if scopes else f"its parameters are {listed(parameters)}"
                    )

    def _candidates(self, path: tuple[str, ...]) -> list[tuple[int, Pattern]]:
        """The patterns whose first name begins a component of the path: all others cannot match."""
        return [
            (stage, pattern)
            for stage, pattern, name in self._named
            if any(component.startswith(name) for component in path)
        ]

    @cached_property
    def _named(self) -> list[tuple[int, Pattern, str]]:
        return [
            (stage, pattern, pattern.components[0].name)
            for stage, patterns in enumerate(self.stages)
            for pattern in patterns
        ]


def listed(names: Sequence[str]) -> str:
    """The names as text; if there are very many, only the first."""
    return ", ".join([*names[:_MOST_LISTED], *(["..."] if len(names) > _MOST_LISTED else [])]) or "none"


def _by_island(placement: Mapping[str, str], topology: Topology) -> list[list[Pattern]]:
    names = [island.name for island in topology.islands]
    stages: list[list[Pattern]] = [[] for _ in names]
    for pattern, island in placement.items():
        if island not in names:
            what = f"placement puts {pattern} on island {island}, which the topology does not have"
            raise PlanError(what, caller() or "plan", f"its islands are {', '.join(names)}")
        stages[names.index(island)].append(Pattern.parse(pattern))
    return stages


def _matches(pattern: Pattern, path: tuple[str, ...]) -> bool:
    """Whether the pattern's components are found in the path, one after the other."""
    return any(_matches_from(pattern.components, path[start:]) for start in range(len(path)))


def _matches_from(components: Sequence[Component], path: tuple[str, ...]) -> bool:
    for component in components:
        taken = _components_taken(component, path)
        if not taken:
            return False
        path = path[taken:]
    return True


def _components_taken(component: Component, path: tuple[str, ...]) -> int:
    """How many components at the path's beginning one component of a pattern matches: 0 if it matches none."""
    if not path:
        return 0
    if component.first is None or component.last is None:
        return int(path[0] == component.name)
    if path[0] == component.name:  # `layers[0..5]` of a list, whose index is a component by itself
        return 2 * int(len(path) > 1 and _in_range(component, path[1]))
    return int(path[0].startswith(component.name) and _in_range(component, path[0][len(component.name) :]))


def _in_range(component: Component, number: str) -> bool:
    assert component.first is not None
    assert component.last is not None
    return number.isascii() and number.isdecimal() and component.first <= int(number) <= component.last
