"""What can be asked of a program without running it: its IR at every phase, what was decided, and its file."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from atoll.compiler.errors import UsageError
from atoll.compiler.export.calling import Calling
from atoll.compiler.mlir.ir_text import parse_text, print_module
from atoll.compiler.plan.plan import Plan
from atoll.compiler.report.program_text import program_text
from atoll.compiler.report.report import Report
from atoll.compiler.saving import check_saveable, saved_text
from atoll.compiler.schedules.schedule import Schedule
from atoll.compiler.text.language import known_names, shown
from atoll.compiler.topology.topology import Topology
from atoll.compiler.view.history import INPUT
from atoll.compiler.view.page import write_page
from atoll.compiler.view.view_data import Viewed
from atoll.runtime.program import Program
from atoll.runtime.program_file import save_program

log = logging.getLogger(__name__)

# The name that `phases` gives the program, after the phases of the IR.
_PROGRAM = "program"


class Inspectable:
    """A program, with all that is known about how it was made. It needs no devices."""

    def __init__(self, program: Program, topology: Topology, calling: Calling, dumps: Mapping[str, bytes]) -> None:
        """dumps: the module as it was given, and at each phase that it went through, as bytecode."""
        self.program = program
        self.topology = topology
        self.plan = Plan.parse(program.plan)
        self._calling = calling
        self._dumps = dumps

    def __repr__(self) -> str:
        topology = "; ".join(str(self.topology).splitlines())
        return f"{type(self).__name__}({self._calling.name} on {topology!r}: {self.plan})"

    @property
    def phases(self) -> tuple[str, ...]:
        """The phases that `ir` can show; for a loaded program only the last one, the program itself."""
        return (*(phase for phase in self._dumps if phase != INPUT), _PROGRAM)

    def ir(self, phase: str, debug_info: bool = False) -> str:
        """The IR at a phase, or the program, as text."""
        if phase == _PROGRAM:
            return program_text(self.program, debug_info)
        if phase not in self.phases:
            raise UsageError(f"there is no phase {shown(phase)}", remedy=known_names(phase, self.phases))
        return print_module(parse_text(self._dumps[phase]), debug_info)

    @property
    def schedule(self) -> Schedule | None:
        """The order in which each island runs the tasks of the loop over microbatches.

        None if there is no such loop, or if it is no pipeline: it goes over the stages more than once, or its placement
        is free.
        """
        predicted = self.report().pipeline
        return None if predicted is None else predicted.schedule_that_runs()

    def report(self) -> Report:
        """What was decided, and what it costs."""
        return Report.from_json(self.program.report)

    def view(self, path: str | Path) -> None:
        """Write a page that shows the program: its islands, schedule, memory, your source, the IR and the report.

        It is one file for a browser, and needs nothing else. What was measured is in it once a step was traced.
        """
        write_page(self.viewed(), path)

    def viewed(self, title: str | None = None) -> Viewed:
        """The program as pages show it, under its function's name or another title."""
        return Viewed(title or self._calling.name, self.program, self._dumps, self.report())

    def save(self, path: str | Path) -> None:
        """Write the program to one file, which `atoll.load` reads without needing your source."""
        self._save(self.program, path)

    def _save(self, program: Program, path: str | Path) -> None:
        check_saveable(program)
        save_program(replace(program, trees=self._calling.to_text()), path)
        log.info("%s", saved_text(program, path))
