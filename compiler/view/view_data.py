"""All that the page shows, as plain data, from what the compiler knows. `docs/view.md` describes its shape."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from atoll.compiler.mlir.bindings import ir
from atoll.compiler.mlir.ir_text import parse_text
from atoll.compiler.module.notes import Note
from atoll.compiler.module.planned import plan_of
from atoll.compiler.report.report import Report
from atoll.compiler.topology.topology import Topology
from atoll.compiler.view.alternatives import alternatives
from atoll.compiler.view.crossings import crossings_of
from atoll.compiler.view.dependencies import dependencies_of
from atoll.compiler.view.history import history
from atoll.compiler.view.live_bytes import live_bytes
from atoll.compiler.view.packing import Packing
from atoll.compiler.view.source_costs import source_costs
from atoll.compiler.view.timelines import measured_timeline, predicted_timeline, whole_timeline
from atoll.runtime.program import Program, Run

FORMAT = 1
_PLACED = "placed"
_LARGEST_FILE = 1_000_000  # bytes of a source file that is shown


@dataclass(frozen=True)
class Viewed:
    """A program to be shown. dumps: the module at each phase, as bytecode, as far as it went through phases here."""

    title: str
    program: Program
    dumps: Mapping[str, bytes]
    report: Report

    def to_data(self) -> dict[str, Any]:
        """Everything but the IR."""
        report = self.report
        places = self._places
        return {
            "format": FORMAT,
            "title": self.title,
            "topology": report.topology,
            "plan": {"asked": report.plan, "resolved": self._resolved},
            "stages": report.stages,
            "segments": report.segments,
            "replicas": report.replicas,
            "fragments": report.fragments,
            "microbatches": report.pipeline.microbatches if report.pipeline else None,
            "schedule": report.pipeline.name if report.pipeline else None,
            "islands": self._islands(),
            "transfers": self._transfers(),
            "exchanges": [dataclasses.asdict(one) for one in report.exchanges],
            "links": [dataclasses.asdict(one) for one in report.links],
            "shared": [dataclasses.asdict(one) for one in report.shared],
            "notes": [_note(one) for one in report.notes],
            "timelines": self._timelines(),
            "memory": [live_bytes(self.program, island) for island in self.program.islands],
            "lines": places,
            "files": _files({_file(one["where"]) for one in places}),
            "stage_costs": [dataclasses.asdict(one) for one in report.pipeline.stages] if report.pipeline else [],
            "alternatives": alternatives(report.pipeline, self._topology) if report.pipeline else [],
            "report": str(report),
        }

    def ir_data(self) -> dict[str, Any]:
        """The IR after every pass, packed."""
        return Packing().pack(history(self.dumps))

    @cached_property
    def _topology(self) -> Topology:
        return Topology.parse(self.report.topology)

    @cached_property
    def placed(self) -> ir.Module | None:
        """The module where every fragment still has code of its own, with the lines of its own operations."""
        return parse_text(self.dumps[_PLACED]) if _PLACED in self.dumps else None

    @cached_property
    def _resolved(self) -> str:
        last = next(reversed(list(self.dumps.values())), None)
        return self.report.plan if last is None else str(plan_of(parse_text(last)))

    @cached_property
    def _places(self) -> list[dict[str, Any]]:
        return [] if self.placed is None else source_costs(self.placed)

    def _islands(self) -> list[dict[str, Any]]:
        known = {island.name: island for island in self._topology.islands}
        per_replica = max(1, len(known) // self.report.replicas)
        found = []
        for number, (told, program) in enumerate(zip(self.report.islands, self.program.islands, strict=True)):
            island = known[told.name]
            names = [one.name for one in program.instructions if isinstance(one, Run)]
            found.append(
                {
                    **dataclasses.asdict(told),
                    "kind": island.kind,
                    "devices": island.size,
                    "axes": program.axes,
                    "memory": island.memory,
                    "replica": number // per_replica,
                    "stages": sorted({one.stage for one in names if one.stage is not None}),
                    "arguments": self._arguments(told.name),
                }
            )
        return found

    def _arguments(self, island: str) -> list[list[Any]]:
        """What lives on an island: the paths of arguments, and how many bytes of each are there, the largest first."""
        program = next(one for one in self.program.islands if one.name == island)
        found: dict[str, int] = {}
        for one in self.program.inputs:
            for name, number in one.every_place:
                if name == island:
                    found[one.path] = found.get(one.path, 0) + program.buffers[number].bytes
        return [[path, size] for path, size in sorted(found.items(), key=lambda one: -one[1])]

    def _transfers(self) -> list[dict[str, Any]]:
        """The report's, with what is known of why, where the module says so in the same order."""
        told = [dataclasses.asdict(one) for one in self.report.transfers]
        why = [] if self.placed is None else crossings_of(self.placed)
        if [_ends(one) for one in told] != [_ends(one) for one in why]:
            return told
        return [
            {**one, **reason, "where": reason["where"] or one["where"]} for one, reason in zip(told, why, strict=True)
        ]

    def _timelines(self) -> list[dict[str, Any]]:
        report, needs = self.report, dependencies_of(self.program)
        found = []
        if report.whole_step is not None:
            found.append(whole_timeline(report.whole_step, self._topology, report.measured, needs).to_data())
        elif report.pipeline is not None:
            found.append(predicted_timeline(report.pipeline, self._topology, report.measured, needs).to_data())
        if report.measured is not None:
            names = [island.name for island in report.islands]
            found.append(measured_timeline(report.measured, names, self._topology, needs).to_data())
        return found


def _ends(transfer: dict[str, Any]) -> tuple[Any, ...]:
    return transfer["source"], transfer["target"], transfer["bytes"], transfer["times"]


def _note(note: Note) -> dict[str, Any]:
    return {"kind": note.to_data()["kind"], "text": str(note.fact), "where": str(note.place or "")}


def _file(where: str) -> str:
    return where.rpartition(":")[0]


def _files(paths: set[str]) -> list[dict[str, str]]:
    """The texts of the user's files, as far as they are here and no larger than a person would read."""
    found = []
    for path in sorted(paths):
        file = Path(path)
        try:
            if path and file.stat().st_size <= _LARGEST_FILE:
                found.append({"path": path, "text": file.read_text(encoding="utf-8", errors="replace")})
        except OSError:
            continue
    return found
