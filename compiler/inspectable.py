"""What can be asked of a program that need not run: its IR at every phase, what was decided, and its file."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from atoll.compiler.errors import UsageError
from atoll.compiler.export.calling import Calling
from atoll.compiler.mlir.ir_text import parse_text, print_module
from atoll.compiler.plan.plan import Plan
from atoll.compiler.report.program_text import program_text
from atoll.compiler.report.report import Report
from atoll.compiler.saving import check_saveable
from atoll.compiler.schedules.schedule import Schedule
from atoll.compiler.text.language import known_names, shown
from atoll.compiler.topology.topology import Topology
from atoll.runtime.program import Program
from atoll.runtime.program_file import save_program

# What `phases` calls the program, behind the phases of the IR.
_PROGRAM = "program"


class Inspectable:
    """A program, with all that is known of how it came about. It needs no devices."""

    def __init__(self, program: Program, topology: Topology, calling: Calling, dumps: Mapping[str, bytes]) -> None:
        """dumps: the module at each phase that it went through."""
        self.program = program
        self.topology = topology
        self.plan = Plan.parse(program.plan)
        self._calling = calling
        self._dumps = dumps

    @property
    def phases(self) -> tuple[str, ...]:
        """The phases that `ir` can show; of a program that was loaded only the last, the program itself."""
        return (*self._dumps, _PROGRAM)

    def ir(self, phase: str, debug_info: bool = False) -> str:
        """The IR at a phase, or the program, as text."""
        if phase == _PROGRAM:
            return program_text(self.program, debug_info)
        if phase not in self._dumps:
            raise UsageError(f"there is no phase {shown(phase)}", remedy=known_names(phase, self.phases))
        return print_module(parse_text(self._dumps[phase]), debug_info)

    @property
    def schedule(self) -> Schedule | None:
        """The order in which each island runs the tasks of the loop over microbatches.

        None if there is no such loop, or one that is no pipeline: it walks over the stages more than once, or its
        placement is free.
        """
        predicted = self.report().pipeline
        return None if predicted is None else predicted.schedule_that_runs()

    def report(self) -> Report:
        """What was decided, and what it costs."""
        return Report.from_json(self.program.report)

    def save(self, path: str | Path) -> None:
        """Write the program as one file, which `atoll.load` reads; your source need not be there."""
        check_saveable(self.program)
        save_program(replace(self.program, trees=self._calling.to_text()), path)
