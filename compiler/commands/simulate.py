"""`atoll simulate`: what becomes of a program on more islands than are here, and in a year of failures."""

import argparse
import contextlib
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

from atoll.compiler import display
from atoll.compiler.activity import announce
from atoll.compiler.commands.plan import JobTarget, ModuleTarget, open_program
from atoll.compiler.commands.topology_option import topology_asked
from atoll.compiler.errors import PATH_FAULTS, UsageError, path_fault
from atoll.compiler.files import check_writable
from atoll.compiler.plan.plan import Plan
from atoll.compiler.planner.plans import best_plans
from atoll.compiler.scaling.chart import scaling_svg
from atoll.compiler.scaling.copies import job_of_copies
from atoll.compiler.scaling.failures import Failures
from atoll.compiler.scaling.scaling import scaling
from atoll.compiler.topology.topology import MOST_ISLANDS, Topology

_COPIES = re.compile(r"\s*[1-9][0-9]{0,6}\s*(,\s*[1-9][0-9]{0,6}\s*)*")


def run(options: argparse.Namespace) -> int:
    """The command."""
    islands = topology_asked(options)
    check_writable(options.svg)
    copies = copies_of(options.copies, len(islands.islands))
    failures = None if options.failures is None else Failures.parse(options.failures)
    plan = None if options.plan is None else plan_asked(options.plan)
    with contextlib.redirect_stdout(sys.stderr), display.shown():  # what the user's code prints; ours is the table
        opened = open_program(options, islands)
        if plan is None:
            plan = Plan.parse(best_plans(opened, announce).plans[0].plan)
        program = GrowingJob(opened) if isinstance(opened, JobTarget) else FixedModule(opened)
        found = scaling(program, plan, copies, failures, options.seed)
    print(found.to_json() if options.json else found)
    if options.svg is not None:
        _write(Path(options.svg), scaling_svg(found))
    return 0


def plan_asked(text: str) -> Plan:
    """What --plan says; UsageError for what is another function on other numbers of copies."""
    plan = Plan.parse(text)
    if plan.per_microbatch:
        what = "--plan has per_microbatch, with which each number of copies would compute another function"
        raise UsageError(what, remedy="leave it out of the plan")
    return plan


def copies_of(text: str, islands: int) -> list[int]:
    """The numbers of copies that a text lists, each once, from the fewest on. islands: how many one copy has."""
    if not _COPIES.fullmatch(text):
        raise UsageError(f"--copies has {text!r}", remedy="write numbers from 1 on: --copies 1,2,4,8")
    found = sorted(set(map(int, text.split(","))))
    if found[-1] * islands > MOST_ISLANDS:
        what = f"--copies: {found[-1]} copies of {islands} islands are more than {MOST_ISLANDS}"
        raise UsageError(what, remedy="ask for fewer copies, or for fewer and larger islands")
    return found


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except PATH_FAULTS as error:
        raise path_fault("write", path, error, "name another file") from None


@dataclass
class GrowingJob:
    """A job, traced once for each size of its batch."""

    target: JobTarget
    _grown: dict[int, JobTarget] = field(default_factory=dict, init=False)

    grows = True

    @property
    def topology(self) -> Topology:
        return self.target.topology

    def exported(self, copies: int) -> bytes:
        if copies == 1:
            return self.target.exported()
        if copies not in self._grown:
            self._grown = {copies: JobTarget(job_of_copies(self.target.job, copies), self.topology)}
        return self._grown[copies].exported()


@dataclass(frozen=True)
class FixedModule:
    """A module of StableHLO, which has the batch that it was made with."""

    target: ModuleTarget

    grows = False

    @property
    def topology(self) -> Topology:
        return self.target.topology

    def exported(self, copies: int) -> bytes:
        assert copies == 1
        return self.target.exported()
