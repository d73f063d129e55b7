"""PaLM 540B on two pods of 3072 v4 chips, as in the paper: compiled by the chips' own compiler, and compared with it.

Each pod has all layers, for half of the batch: divided 12 ways over heads and hidden units, and 256 ways fully. The
pods exchange their gradients in bfloat16. Each takes its half in four microbatches, whose gradients are summed in
bfloat16 as well; the paper does not say that it divides the halves.

    python -m atoll.examples.palm.pods
"""

import sys
import time
from dataclasses import dataclass
from math import prod

import jax
from atoll.examples.palm import sharding
from atoll.examples.palm.large import job_of
from atoll.examples.palm.sizes import PALM_540B, padded
from atoll.examples.palm.train import shapes_of
from atoll.examples.palm.utilisation import hardware_flops, model_flops, utilisation

import atoll

TOPOLOGY = "2 x v4[16x16x12](data=256, model=12)"
PLAN = atoll.Plan(stages=1, microbatches=4, replicas=2, segments=1, accumulator="same")

_PEAK = 275e12  # floating-point operations that a chip can do in a second
_CHIPS_PER_HOST = 4

# What the paper says: of its model, and of how fast it was trained (sections 4 and 5).
TOKENS_PER_SECOND = 238_300
PARAMETERS, MODEL_UTILISATION, HARDWARE_UTILISATION = 540.35e9, 0.462, 0.578
GRADIENTS_PER_HOST = 1.31 * 2**30


job = job_of(padded(PALM_540B, 96), sharding.narrow)  # so that gradients are in bfloat16


@dataclass(frozen=True)
class Row:
    """A number beside the published one. within: by how much of that it may differ."""

    name: str
    found: float
    published: float
    within: float
    unit: str

    @property
    def is_right(self) -> bool:
        return abs(self.found - self.published) <= self.within * self.published

    def __str__(self) -> str:
        scale = {"B": 1e9, "%": 0.01, "GiB": 2**30}[self.unit]
        found, published = (f"{number / scale:.2f} {self.unit}" for number in (self.found, self.published))
        verdict = "" if self.is_right else f"   differs by more than {100 * self.within:g}%"
        return f"{self.name:<52}{found:>12}{published:>12}{verdict}"


def comparison(report: atoll.Report) -> list[Row]:
    """What was compiled, beside what is published."""
    pods = atoll.topology(TOPOLOGY).islands
    chips = sum(pod.size for pod in pods)
    shards = {axis.name: axis.size for axis in pods[0].axes}["model"]
    tokens = PALM_540B.batch * PALM_540B.length
    flops = report.chips[0].flops * chips / tokens
    params = shapes_of(PALM_540B)[0]["params"]
    counted = sum(prod(leaf.shape) for leaf in jax.tree.leaves(params))
    gradients = sum(one.bytes for one in report.exchanges) * _CHIPS_PER_HOST / pods[0].size
    speed = (TOKENS_PER_SECOND, chips, _PEAK)
    by_formula = utilisation(hardware_flops(PALM_540B, shards), *speed)
    return [
        Row("parameters, before padding", counted, PARAMETERS, 1e-4, "B"),
        Row("model FLOPs utilisation", utilisation(model_flops(PALM_540B), *speed), MODEL_UTILISATION, 2e-3, "%"),
        Row("hardware FLOPs utilisation, by formula", by_formula, HARDWARE_UTILISATION, 0.01, "%"),
        Row("the same, by what was compiled", utilisation(flops, *speed), HARDWARE_UTILISATION, 0.01, "%"),
        Row("gradients that each host of 4 chips exchanges", gradients, GRADIENTS_PER_HOST, 0.05, "GiB"),
    ]


def main() -> int:
    """Print the report, and the comparison; the status is 1 if a number is not the published one."""
    began = time.monotonic()
    report = atoll.lower(job, topology=TOPOLOGY, plan=PLAN).compile().report()
    print(report, "\n")
    rows = comparison(report)
    print(f"{'utilisation at the speed that was published':<52}{'here':>12}{'published':>12}")
    print(*rows, sep="\n")
    chip = report.chips[0]
    print(f"\na chip needs {chip.peak / 2**30:.1f} GiB at the most, and has {chip.limit / 2**30:.2f} GiB")
    print(f"all of this took {time.monotonic() - began:.0f} s")
    return 0 if all(row.is_right for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
