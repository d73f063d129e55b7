"""A schedule: the order of tasks on each island."""

from dataclasses import dataclass

from atoll.compiler.schedules.costs import uniform
from atoll.compiler.schedules.picture import gantt_svg, schedule_panel
from atoll.compiler.schedules.schedule_text import read_schedule, written_schedule
from atoll.compiler.schedules.simulate import Simulation, simulate
from atoll.compiler.schedules.task_table import TaskTable
from atoll.compiler.schedules.walk import check


@dataclass(frozen=True)
class Schedule(TaskTable):
    """A table of tasks that can be read and written as text, simulated and drawn."""

    @classmethod
    def parse(cls, text: str) -> "Schedule":
        """The schedule that a text writes, checked."""
        table = read_schedule(text)
        check(table)
        return cls(table.name, table.microbatches, table.stage_island, table.rows, table.joined)

    def __str__(self) -> str:
        """A text that parses to an equal schedule."""
        return written_schedule(self)

    def simulate(
        self,
        forward: float = 1.0,
        backward: float = 1.0,
        weight: float = 1.0,
        update: float = 0.0,
        transfer: float = 0.0,
    ) -> Simulation:
        """What the schedule costs if all islands are alike.

        forward, backward, weight: the time of a microbatch on all chunks of an island; each takes an equal part of it.
        update: the time of what follows an island's last task.
        transfer: the time that a value takes from one island to another.
        Peaks are in activations of one microbatch on all chunks of an island.
        """
        # Simulated in units of a chunk: a chunk's part of a whole number may be no exact float, and sums would round.
        chunks = self.chunks
        costs = uniform(self, forward, backward, weight, update * chunks, transfer * chunks)
        return simulate(self, costs).divided(chunks)

    def table(self) -> str:
        """A row for each island and a column for each tick, where every task takes one tick; `.` is a pause."""
        simulation = simulate(self, uniform(self))
        rows = [["."] * round(simulation.makespan) for _ in range(self.islands)]
        for task, island, start, end in simulation.tasks:
            for tick in range(round(start), round(end)):
                rows[island][tick] = self.label(task, island)
        width = max(len(cell) for row in rows for cell in row)
        digits = len(str(self.islands - 1))
        return "\n".join(
            f"island {island:{digits}}: {' '.join(f'{cell:{width}}' for cell in row)}".rstrip()
            for island, row in enumerate(rows)
        )

    def _repr_html_(self) -> str:
        return self.svg()

    def svg(self, simulation: Simulation | None = None) -> str:
        """A picture: a row for each island, and bars for its tasks as simulated, by default with equal costs."""
        return gantt_svg([schedule_panel(self, simulation or self.simulate(), f"schedule {self.name}")])
