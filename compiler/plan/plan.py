"""The plan: how a program is cut over the islands."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, NoReturn, get_args

from atoll.compiler.errors import PlanError
from atoll.compiler.plan.allowance import EXTRA, Allowance
from atoll.compiler.plan.stage_text import Pattern, StageText
from atoll.compiler.schedules.kinds import MOST_CHUNKS, kind_named
from atoll.compiler.schedules.schedule import Schedule
from atoll.compiler.schedules.task_table import MOST_CELLS
from atoll.compiler.schedules.walk import check
from atoll.compiler.text.language import Language, Place, Reader, known_names, shown
from atoll.compiler.text.notebook import preformatted
from atoll.compiler.text.quantities import LARGEST, whole_number
from lark import Token, v_args
from lark.tree import Meta

# What is a choice of few words has a type, so that a type checker refuses what the plan would.
Auto = Literal["auto"]
Accumulator = Literal["float32", "same"]
Update = Literal["whole", "sharded", "auto"]

AUTO: Final = "auto"
WHOLE: Final = "whole"
SHARDED: Final = "sharded"
_ACCUMULATORS: tuple[Accumulator, ...] = get_args(Accumulator)
_UPDATES: tuple[Update, ...] = get_args(Update)
# Limited, as every stage and segment has tasks for every microbatch, whether or not the model has so many cuts.
MOST_STAGES, MOST_SEGMENTS, MOST_MICROBATCHES = MOST_CHUNKS, 1000, MOST_CELLS
_PATTERNS = ("offload", "per_microbatch")  # fields that are scope patterns

_LANGUAGE = Language(
    name="plan text",
    grammar=Path(__file__).with_name("plan.lark"),
    error=PlanError,
    terminals={"WORD": "a word", "INT": "a whole number", "STRING": "a string in double quotes"},
)


@dataclass(frozen=True)
class Plan:
    """How a program is cut; `resolved_plan` decides what is `auto`.

    stages: their number, or a stage text.
    microbatches: how many a replica runs in a step.
    schedule: the name of a schedule, with chunks in parentheses if it takes them; or a schedule, or its text.
    replicas: how many copies of the pipeline there are.
    placement: instead of stages, scope patterns and the islands that they go to.
    accumulator: how narrow floats are summed over microbatches: in `float32`, or in the `same` type as each part.
    segments: how many an island runs each stage in, so that replicas exchange the sums of one while others still run.
    update: whether each replica makes the `whole` update, or the update and its state are `sharded` over them. Open,
        it is whole, unless microbatches are open too and sharing makes the step shorter or lets it fit.
    extra: what it may cost that examples need something of the whole batch: how many percent of the model's work may
        be done again, above which it is kept instead; or that and the bytes that a device may keep, `"20%, 2 GB"`.
        What costs more is refused, and with 0 whatever costs anything.
    offload: scope patterns, as in a stage text, of arguments and results that are in the memory of the host between
        tasks, such as `"opt_state"`; empty for none. Open, there are none, unless microbatches are open too and
        nothing fits the memory without.
    per_microbatch: scope patterns; what is in these scopes sees the examples of one microbatch alone, and of what they
        give, such as statistics and auxiliary losses, the mean is taken. That is another function. Empty for none.
    """

    stages: int | str = AUTO
    microbatches: int | Auto = AUTO
    schedule: str | Schedule = AUTO
    replicas: int | Auto = AUTO
    placement: Mapping[str, str] | None = field(default=None, hash=False)  # a dict; equal plans still hash alike
    accumulator: Accumulator = "float32"
    segments: int | Auto = AUTO
    update: Update = AUTO
    extra: int | str = EXTRA
    offload: str = AUTO
    per_microbatch: str = ""

    def __post_init__(self) -> None:
        # Each field is kept in one spelling, so that plans that mean the same are equal.
        self._keep("stages", _stages(self.stages))
        self._keep("microbatches", _count("microbatches", self.microbatches, MOST_MICROBATCHES))
        self._keep("schedule", _schedule(self.schedule))
        self._keep("replicas", _count("replicas", self.replicas))
        self._keep("segments", _count("segments", self.segments, MOST_SEGMENTS))
        for name in _PATTERNS:
            self._keep(name, _patterns(name, getattr(self, name)))
        self._keep("extra", self.allowance.value)
        if self.accumulator not in _ACCUMULATORS:
            _wrong_type("accumulator", self.accumulator, " or ".join(_ACCUMULATORS))
        if self.update not in _UPDATES:
            _wrong_type("update", self.update, f"{WHOLE}, {SHARDED} or {AUTO}")
        if isinstance(self.schedule, Schedule):
            self._check_sizes(self.schedule)
        if self.placement is None:
            return
        self._keep("placement", _placement(self.placement))
        if self.replicas not in (AUTO, 1):
            what = f"a placement and replicas={self.replicas} are both given"
            raise PlanError(what, remedy="leave replicas out: only pipelines are copied")
        if self.segments not in (AUTO, 1):
            what = f"a placement and segments={self.segments} are both given"
            raise PlanError(what, remedy="leave segments out: only stages run in segments")
        if self.update == SHARDED:
            what = f"a placement and update={self.update} are both given"
            raise PlanError(what, remedy="leave update out: only pipelines have replicas")
        if self.stages != AUTO:
            raise PlanError("stages and placement are both given", remedy="a placement stands instead of stages")
        if self.schedule != AUTO:
            what = "a schedule and a placement are both given"
            raise PlanError(
                what, remedy="leave the schedule out: placed freely, tasks run in the order of the dataflow"
            )

    @property
    def allowance(self) -> Allowance:
        """What `extra` says."""
        return Allowance.of(self.extra)

    @property
    def on_host(self) -> str:
        """The patterns of what is in the memory of the host; empty if that is nothing."""
        return "" if self.offload == AUTO else self.offload

    def _check_sizes(self, schedule: Schedule) -> None:
        for name, wanted in (("stages", schedule.stages), ("microbatches", schedule.microbatches)):
            given = getattr(self, name)
            if isinstance(given, int) and given != wanted:
                what = f"{name} is {given}, and schedule {schedule.name} has {wanted}"
                raise PlanError(what, remedy=f"leave {name} out, or write {wanted}")

    def _keep(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    @classmethod
    def parse(cls, text: str) -> "Plan":
        """The plan that a text writes. Missing fields have their defaults."""
        parsed: Plan = _Reader(_LANGUAGE.source(text)).read()
        return parsed

    def _repr_html_(self) -> str:
        return preformatted(str(self))

    def __str__(self) -> str:
        """A text that parses to an equal plan."""
        stages = json.dumps(self.stages) if isinstance(self.stages, str) and self.stages != AUTO else self.stages
        fields = [
            f"stages={stages}",
            f"microbatches={self.microbatches}",
            f"schedule={_schedule_text(self.schedule)}",
            f"replicas={self.replicas}",
        ]
        if self.placement is not None:
            fields.append(f"placement={json.dumps(dict(self.placement))}")
        if self.accumulator != _ACCUMULATORS[0]:
            fields.append(f"accumulator={self.accumulator}")
        if self.segments != AUTO:
            fields.append(f"segments={self.segments}")
        if self.update != AUTO:
            fields.append(f"update={self.update}")
        if self.extra != EXTRA:
            fields.append(f"extra={json.dumps(self.extra)}")
        if self.offload != AUTO:
            fields.append(f"offload={json.dumps(self.offload)}")
        if self.per_microbatch:
            fields.append(f"per_microbatch={json.dumps(self.per_microbatch)}")
        return ", ".join(fields)


def _count(name: str, value: object, most: int = LARGEST) -> int | Auto:
    if isinstance(value, str):
        if value != AUTO:
            _wrong_type(name, value, "a whole number or auto")
        return AUTO
    return whole_number(name, value, PlanError, most=most)


def _stages(value: object) -> int | str:
    if not isinstance(value, str):
        return whole_number("stages", value, PlanError, most=MOST_STAGES)
    return AUTO if value == AUTO else str(StageText.parse(value))


def _patterns(name: str, value: object) -> str:
    if not isinstance(value, str):
        _wrong_type(name, value, "scope patterns in a text")
    if not value.strip():
        return ""
    if name == "offload" and value == AUTO:
        return AUTO
    text = StageText.parse(value)
    if len(text.stages) > 1:
        what = f"{name} has {shown(value)}, which are patterns of several stages"
        raise PlanError(what, remedy="write commas between its patterns")
    return str(text)


def _schedule(value: object) -> str | Schedule:
    if isinstance(value, Schedule):
        check(value)
        return value
    if not isinstance(value, str):
        _wrong_type("schedule", value, "the name of a schedule or auto")
    if value.strip().lower() == AUTO:
        return AUTO
    # A name has no colon, and every text of a schedule has one.
    return Schedule.parse(value) if ":" in value else kind_named(value).name


def _schedule_text(schedule: str | Schedule) -> str:
    """A schedule on one line, so that a plan stays on one line."""
    return schedule if isinstance(schedule, str) else json.dumps(str(schedule).replace("\n", "; "))


def _placement(value: object) -> dict[str, str]:
    if not isinstance(value, Mapping):
        _wrong_type("placement", value, "a dict from scope patterns to islands")
    if not value:
        raise PlanError("the placement is empty", remedy="leave it out, or name an island for a scope pattern")
    islands: dict[str, str] = {}
    for scope, island in value.items():
        if not isinstance(island, str) or not island:
            raise PlanError(f"{shown(scope)} is placed on {shown(island)}", remedy="write the name of an island")
        pattern = str(Pattern.parse(scope))
        if pattern in islands:
            raise PlanError(f"the pattern {shown(pattern)} is placed twice", remedy="place each scope on one island")
        islands[pattern] = island
    return islands


def _wrong_type(name: str, value: object, wanted: str) -> NoReturn:
    found = shown(value) if isinstance(value, str) else type(value).__name__
    raise PlanError(f"{name} takes {wanted}, not {found}")


@dataclass(frozen=True)
class _Value:
    """A field's value as written, and where it begins."""

    place: Place
    value: object
    is_word: bool = False


@v_args(inline=True)
class _Reader(Reader):
    def start(self, *fields: tuple[Token, _Value] | None) -> Plan:
        values: dict[str, Any] = {}
        for name, given in filter(None, fields):  # lark gives None for an empty text
            if name in values:
                raise self.at(name).fault(f"{name} is there twice", "write each field once")
            # A plan of this field alone, as its constructor is what checks values: a fault is then at this field.
            with given.place.blamed():
                Plan(**{name: given.value})  # type: ignore[arg-type] # the type is what is judged
            values[str(name)] = given.value
        with self.at(0).blamed():
            return Plan(**values)

    def field(self, name: Token, given: _Value) -> tuple[Token, _Value]:
        known = [known.name for known in dataclasses.fields(Plan)]
        if name not in known:
            raise self.at(name).fault(f"a plan has no field {shown(name)}", known_names(name, known))
        # Without this a misspelt `auto` would be the name of a scope.
        if name == "stages" and given.is_word and given.value != AUTO:
            what = f"stages takes a whole number, auto or a stage text, not {shown(given.value)}"
            raise given.place.fault(what, "write a stage text in double quotes")
        if name in _PATTERNS and given.is_word and not (name == "offload" and given.value == AUTO):
            raise given.place.fault(f"{name} takes scope patterns", "write them in double quotes")
        return name, given

    def number(self, token: Token) -> _Value:
        return _Value(self.at(token), self.whole(token))

    def quoted(self, token: Token) -> _Value:
        return _Value(self.at(token), self.string(token))

    def word(self, word: Token, chunks: Token | None) -> _Value:
        value = str(word) if chunks is None else f"{word}({self.whole(chunks)})"
        return _Value(self.at(word), value, is_word=True)

    @v_args(inline=True, meta=True)
    def mapping(self, meta: Meta, *pairs: tuple[Place, str, str] | None) -> _Value:
        mapping: dict[str, str] = {}
        for place, scope, island in filter(None, pairs):  # lark gives None for {}
            if scope in mapping:
                raise place.fault(f"the pattern {shown(scope)} is placed twice", "place each scope on one island")
            mapping[scope] = island
        return _Value(self.at(meta), mapping)

    def pair(self, scope: Token, island: Token) -> tuple[Place, str, str]:
        return self.at(scope), self.string(scope), self.string(island)
