"""The plans that were found, as a table and as JSON."""

import json
from dataclasses import asdict, dataclass

from atoll.compiler.text.quantities import bytes_text, seconds_text

PROGRAM, LAYERS = "program", "layers"


@dataclass(frozen=True, kw_only=True)
class PlanRow:
    """A plan and what is predicted of it.

    plan: a text for `Plan.parse`. source: whether the numbers are those of the report of its `program`, or follow from
        what `layers` cost.
    step, busy, links, exchange: seconds: of a step; of the busiest island in it; what links cost of it, and what
        replicas exchange without any task that hides it.
    bubble: the part of the step in which an island pauses, on average.
    memory: the most bytes that a device needs; sent: those that all links carry in a step.
    mfu, hfu: the part of what makers state for the devices that the model's operations take, counted three times the
        forward ones in training, and that all operations take; None if makers state nothing.
    """

    plan: str
    source: str
    step: float
    busy: float
    links: float
    exchange: float
    bubble: float
    memory: float
    sent: float
    mfu: float | None
    hfu: float | None

    @property
    def rest(self) -> float:
        """What is left of the step: the pipeline fills and empties, and islands are uneven."""
        return max(0.0, self.step - self.busy - self.links - self.exchange)


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """Plans for a topology, the best first.

    bound: no plan takes less with what the layers cost, even over links that take no time.
    tried: how many cuts with a schedule were looked at.
    why, without, binds: sentences: what the first has on the second, and on itself if replicas shared no update and
        nothing waited on the host, if it is not so; and what its step hangs on.
    notes: what limits the choice, such as a function that has no batch.
    """

    topology: str
    plans: tuple[PlanRow, ...]
    bound: float
    tried: int
    why: str
    without: str
    binds: str
    notes: tuple[str, ...]

    @property
    def gap(self) -> float:
        """How far the best step is above the bound, as a part of that."""
        return max(0.0, self.plans[0].step / self.bound - 1) if self.bound else 0.0

    def to_json(self) -> str:
        return json.dumps({**asdict(self), "gap": self.gap}, indent=2)

    def __str__(self) -> str:
        first, *more = self.topology.splitlines()
        rows = [f"topology  {first}", *(f"          {line}" for line in more), ""]
        rows.append(f"{'step':>10}{'bubble':>8}{'memory':>12}{'sent':>12}{'MFU':>6}{'HFU':>6}   plan")
        rows += [_row(one) for one in self.plans]
        if any(one.source == LAYERS for one in self.plans):
            rows.append("~ as what its layers cost says; the other steps are what their programs' reports predict")
        rows += ["", f"best      {self.plans[0].plan}"]
        rows += [f"          {line}" for line in (self.why, self.without, self.binds) if line]
        least = f"no plan takes less than {seconds_text(self.bound)}, even if links took no time"
        rows.append(f"bound     {least}: the best is at most {self.gap:.1%} above that; {self.tried} were tried")
        return "\n".join([*rows, *(f"note      {line}" for line in self.notes)])


def _row(one: PlanRow) -> str:
    step = ("~" if one.source == LAYERS else "") + seconds_text(one.step)
    sizes = (bytes_text(round(size)) for size in (one.memory, one.sent))
    parts = f"{_percent(one.bubble):>8}{''.join(f'{size:>12}' for size in sizes)}"
    return f"{step:>10}{parts}{_percent(one.mfu):>6}{_percent(one.hfu):>6}   {one.plan}"


def _percent(part: float | None) -> str:
    return "-" if part is None else f"{100 * part:.0f}%"


def why_first(plans: tuple[PlanRow, ...]) -> str:
    """What the first plan has on the second: where its step is shorter."""
    if len(plans) < 2:
        return "nothing else was found to compare it with"
    first, second = plans[:2]
    gain = second.step / first.step - 1
    if gain < 0.005:
        return "the next takes as long, to half a percent"
    parts = {
        "its busiest island works {} less": second.busy - first.busy,
        "links cost it {} less": second.links - first.links,
        "replicas exchange {} less that nothing hides": second.exchange - first.exchange,
        "it pauses {} less while the pipeline fills and empties": second.rest - first.rest,
    }
    text, most = max(parts.items(), key=lambda one: one[1])
    return f"{gain:.1%} faster than the next, as {text.format(seconds_text(most))}"


def what_is_gained(way: str, one: PlanRow, usual: PlanRow, passed: int | None) -> str:
    """What the plan would be without a way to update. usual: that plan; passed: the memory that a device then lacks."""
    step = f"a step would take {seconds_text(usual.step)}, not {seconds_text(one.step)}"
    memory = f"a device would need {bytes_text(round(usual.memory))}, not {bytes_text(round(one.memory))}"
    limit = "" if passed is None else f", and has {bytes_text(passed)}"
    return f"without {way} {step}; {memory}{limit}"


def what_binds(one: PlanRow, unlimited: float | None) -> str:
    """What the step hangs on. unlimited: the step of the best plan if memory had no limit, where it has one."""
    parts = {"compute": one.busy, "transfers": one.links, "exchanges": one.exchange, "the bubble": one.rest}
    shares = ", ".join(f"{name} {part / one.step:.0%}" for name, part in parts.items() if part >= 0.005 * one.step)
    bound = max(parts, key=parts.__getitem__)
    if unlimited is not None and unlimited < one.step * 0.99:
        return f"bound by memory: without its limits {seconds_text(unlimited)}; of the step {shares}"
    return f"bound by {bound}: of the step {shares}"
