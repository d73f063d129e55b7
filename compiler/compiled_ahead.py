"""What `Lowered.compile` returns where there are no chips: a program that was compiled for them, and cannot run."""

import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from types import TracebackType
from typing import NoReturn

from atoll.compiler import activity, display
from atoll.compiler.ahead.cache import Cache
from atoll.compiler.ahead.compilation import CannotCompile, Slices, compile_ahead, prebuilt_ahead, settings
from atoll.compiler.ahead.fitting import check_fits, refuse_code
from atoll.compiler.ahead.limits import memory_of_device
from atoll.compiler.ahead.measuring import chip_report, code_reports
from atoll.compiler.ahead.memory import peak_of
from atoll.compiler.errors import UsageError
from atoll.compiler.export.calling import Calling
from atoll.compiler.inspectable import Inspectable
from atoll.compiler.report.report import Report
from atoll.compiler.topology.slices import libtpu_version
from atoll.compiler.topology.topology import Topology
from atoll.compiler.tracebacks import caller
from atoll.runtime.program import Program

log = logging.getLogger(__name__)


class CompiledAhead(Inspectable):
    """A program, compiled by the compiler of TPUs that are not on this machine.

    `report()` says what it needs and does on each chip. It can be saved, and not be called.
    """

    def __init__(
        self,
        program: Program,
        topology: Topology,
        calling: Calling,
        dumps: Mapping[str, bytes],
        cache: Cache | None = None,
    ) -> None:
        """PlanError if it does not fit the chips. cache: where to keep what was compiled; by default the usual."""
        version = f"libtpu {libtpu_version()}"
        cache = cache or Cache.usual()
        activity.announce(f"compiling fragments with {version}")
        began = time.monotonic()
        slices = Slices.of_topology(topology)
        try:
            with display.shown():
                self._made = compile_ahead(program, slices, cache)
        except CannotCompile as error:
            refuse_code(error)
        log.info(
            "%d fragments took %.1f s; they are kept in %s", len(program.codes), time.monotonic() - began, cache.folder
        )
        chips = []
        for island, of in zip(program.islands, topology.islands, strict=True):
            where, made = slices.of[island.name], self._made[island.name]
            limit = min(memory_of_device(where, slices.meshes[where], settings(), cache), of.memory or 2**63)
            peak = peak_of(program, island, made)
            chips.append(chip_report(program, island, made, peak, limit))
            check_fits(program, island, made, peak, chips[-1])
        codes = tuple(code_reports(program, self._made))
        report = replace(Report.from_json(program.report), compiler=version, chips=tuple(chips), codes=codes)
        prebuilt = tuple(prebuilt_ahead(program, self._made, slices))
        super().__init__(replace(program, report=report.to_json(), prebuilt=prebuilt), topology, calling, dumps)

    @property
    def executables(self) -> dict[str, dict[str, bytes]]:
        """For each island its fragments by name, as XLA writes down what it has made of them."""
        return {
            name: {self.program.codes[number].name: code.executable for number, code in codes.items()}
            for name, codes in self._made.items()
        }

    def __call__(self, *_: object, **__: object) -> NoReturn:
        text = str(self.topology).replace("\n", "; ")
        what = f"{self._calling.name} was compiled for {text}, which is not on this machine, so it cannot run"
        raise UsageError(
            what, caller(), "save it and load it where these TPUs are, or compile it for a kind that is here"
        )

    put = stats = trace = __call__

    def close(self) -> None:
        """Nothing is to be stopped; for those who close what they have compiled, whichever it is."""

    def __enter__(self) -> "CompiledAhead":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
