"""What the train steps of PaLM 8B and 62B need on slices of several kinds of TPU, by the TPUs' own compiler; and a plan
that does not fit. Nothing runs. What was compiled before is not compiled again."""

import sys
import time

from atoll.compiler.text.quantities import bytes_text, count_text, seconds_text
from atoll.examples.palm.large import job_8b, job_62b

import atoll

JOBS = {"8B": job_8b, "62B": job_62b}
MIX = "island a : v4[8x8x4](data=32, model=8); island b : v5e[16x16](data=32, model=8)"
# A microbatch has an example for every row of an island's data axis.
FITS = [
    ("8B", "2 x v5p[4x4x4](data=16, model=4)", "stages=2, microbatches=16, schedule=1f1b"),
    ("8B", "4 x v5e[16x16](data=32, model=8)", "stages=4, microbatches=8, schedule=1f1b"),
    ("8B", "2 x v6e[16x16](data=32, model=8)", "stages=2, microbatches=8, schedule=1f1b"),
    ("8B", MIX, "stages=2, microbatches=8, schedule=1f1b"),
    ("62B", "2 x v5p[8x8x8](data=64, model=8)", "stages=2, microbatches=16, schedule=1f1b"),
    ("62B", "4 x v5e[16x16](data=32, model=8)", "stages=4, microbatches=32, schedule=1f1b"),
    ("62B", "2 x v6e[16x16](data=32, model=8)", "stages=2, microbatches=32, schedule=1f1b"),
    ("62B", MIX, "stages=2, microbatches=32, schedule=1f1b"),
]
DOES_NOT = ("62B", "4 x v5e[4x4](data=2, model=8)", "stages=4, microbatches=512, schedule=1f1b")


def compiled(size: str, topology: str, plan: str) -> atoll.Report:
    """What the compiler says of it."""
    return atoll.lower(JOBS[size], topology=topology, plan=atoll.Plan.parse(plan)).compile().report()


def main() -> int:
    chosen = sys.argv[1:]  # sizes; all if none is named
    for size, topology, plan in FITS:
        if chosen and size not in chosen:
            continue
        began = time.monotonic()
        try:
            report = compiled(size, topology, plan)
        except atoll.AtollError as error:
            print(f"{size} on {topology}, {plan}:\n{error}\n", flush=True)
            continue
        print(f"{size} on {topology}, {plan}: in {seconds_text(time.monotonic() - began)}")
        for one in report.chips:
            sizes = f"{bytes_text(one.peak):>10} of {bytes_text(one.limit)} while {one.task}"
            work = f"{count_text(one.flops)} FLOP, {bytes_text(one.hbm)} of HBM, {bytes_text(one.collectives)}"
            print(f"    {one.name:<10}{sizes:<40}{work} of collectives", flush=True)
    try:
        compiled(*DOES_NOT)
    except atoll.PlanError as error:
        print(f"{' on '.join(DOES_NOT[:2])}, {DOES_NOT[2]}:\n{error}")
        return 0
    print("what should not fit does")
    return 1


if __name__ == "__main__":
    sys.exit(main())
