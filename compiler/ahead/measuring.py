"""What a program that was compiled ahead needs and does, island by island."""

from collections.abc import Iterator, Mapping

from atoll.compiler.ahead.compilation import CodeAhead
from atoll.compiler.ahead.hlo_work import HloWork
from atoll.compiler.ahead.memory import Peak, host_bytes, program_bytes, runs_in_step, sizes_of
from atoll.compiler.report.chips import ChipReport, CodeReport
from atoll.runtime.program import IslandProgram, Program


def chip_report(
    program: Program, island: IslandProgram, codes: Mapping[int, CodeAhead], peak: Peak, limit: int
) -> ChipReport:
    """One island. limit: the bytes that each of its devices has."""
    sizes, programs = sizes_of(island, codes), program_bytes(codes)
    work = sum((codes[code].work * times for code, times in runs_in_step(island).items()), HloWork())
    return ChipReport(
        name=island.name,
        arguments=sum(sizes[number] for number in program.given[island.name]),
        results=sum(sizes[number] for number in program.kept[island.name]),
        temporaries=max((code.temporaries for code in codes.values()), default=0),
        programs=programs,
        held=peak.held,
        peak=peak.bytes + programs,
        task=peak.run.task if peak.run else "",
        limit=limit,
        host=host_bytes(program, island, codes),
        flops=work.flops,
        hbm=work.hbm_bytes,
        collectives=work.collective_bytes,
    )


def code_reports(program: Program, made: Mapping[str, Mapping[int, CodeAhead]]) -> Iterator[CodeReport]:
    """Each code that was compiled, once for all islands that run the same executable."""
    times = {island.name: runs_in_step(island) for island in program.islands}
    islands: dict[tuple[int, str], list[str]] = {}
    for name, codes in made.items():
        for number, ahead in codes.items():
            islands.setdefault((number, ahead.key), []).append(name)
    for (number, _), names in islands.items():
        code, told = program.codes[number], made[names[0]][number]
        yield CodeReport(
            name=code.name,
            where=code.where,
            islands=tuple(names),
            runs=max(times[name][number] for name in names),
            arguments=told.argument_bytes,
            results=told.result_bytes,
            aliased=told.aliased,
            temporaries=told.temporaries,
            program=told.program,
            flops=told.work.flops,
            hbm=told.work.hbm_bytes,
            collectives=told.work.collective_bytes,
            uncounted=told.work.unknown_loops,
            seconds=told.seconds,
        )
