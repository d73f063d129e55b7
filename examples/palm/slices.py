"""The smaller models of the family on slices of several generations of TPUs: what fits, and what each chip needs.

Each is compiled by the chips' own compiler, without chips. A plan that does not fit shows the arithmetic. Nothing of it
is to run, so the compiler is asked for less work on instructions, in which nearly all of its time would go; unless
`JAX_OPTIMIZATION_LEVEL` says how much.

    python -m atoll.examples.palm.slices [NAME ...]
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import jax
from atoll.examples.palm.large import job_8b, job_62b

import atoll

_JOBS = {"8B": job_8b, "62B": job_62b}
_PIPELINE = atoll.Plan(stages=2, microbatches=8, schedule="1f1b")
_REPLICAS = atoll.Plan(stages=2, microbatches=8, replicas=2, schedule="1f1b")

_AS_USUAL = "UNKNOWN"  # what jax's optimisation level is where nobody has chosen one


@dataclass(frozen=True)
class Case:
    """A model on islands, by a plan. level: how much the compiler optimises, as jax says it."""

    model: str
    topology: str
    plan: atoll.Plan
    level: str = "O1"

    @property
    def islands(self) -> str:
        """The topology in a line."""
        return self.topology.replace("island ", "").replace("; ", " and ")


# At O1 libtpu 0.0.52 ends the process for v6e: it has no DMA from HBM to HBM there.
CASES = {
    "8b-v5p": Case("8B", "2 x v5p[4x4x4](data=8, model=8)", _PIPELINE),
    "8b-v5e": Case("8B", "4 x v5e[16x16](data=32, model=8)", _REPLICAS),
    "8b-v6e": Case("8B", "2 x v6e[16x16](data=32, model=8)", _PIPELINE, _AS_USUAL),
    "8b-mix": Case("8B", "island a : v4[4x4x8](data=16, model=8); island b : v5e[16x16](data=32, model=8)", _PIPELINE),
    "62b-v5p": Case("62B", "2 x v5p[4x8x8](data=32, model=8)", _PIPELINE),
    "62b-v5e": Case("62B", "4 x v5e[16x16](data=32, model=8)", _REPLICAS),
    "62b-v6e": Case("62B", "2 x v6e[16x16](data=32, model=8)", _PIPELINE, _AS_USUAL),
    "62b-small": Case("62B", "2 x v5e[4x4](data=2, model=8)", _PIPELINE),
}


@contextmanager
def _optimised(level: str) -> Iterator[None]:
    """Let the compiler optimise so much, unless the user has said how much."""
    chosen = jax.config.jax_optimization_level  # type: ignore[attr-defined] # jax's
    jax.config.update("jax_optimization_level", level if chosen == _AS_USUAL else chosen)
    try:
        yield
    finally:
        jax.config.update("jax_optimization_level", chosen)


def row(case: Case) -> str:
    """What compiling it says, as a row of a table: of the island that has the least room left."""
    began = time.monotonic()
    try:
        with _optimised(case.level):
            report = atoll.lower(_JOBS[case.model], topology=case.topology, plan=case.plan).compile().report()
    except atoll.PlanError as error:
        return f"| {case.model} | `{case.islands}` | does not fit | {error.what} |"
    chip = max(report.chips, key=lambda one: one.peak / one.limit)
    needs = f"{chip.peak / 2**30:.1f} of {chip.limit / 2**30:.1f} GiB while {chip.task} runs"
    least = "at least " if any(chip.name in code.islands and code.uncounted for code in report.codes) else ""
    print(f"{case.islands}: {time.monotonic() - began:.0f} s", file=sys.stderr)
    return f"| {case.model} | `{case.islands}` | {needs} | {least}{chip.flops / 1e12:.0f} T |"


def main(names: list[str]) -> int:
    """Print the rows of these cases, or of all."""
    print("| model | islands | a chip needs | FLOP in a step |", "|---|---|---|---|", sep="\n")
    for name in names or CASES:
        print(row(CASES[name]), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
