"""Prints how long the passes take on train steps of 8, 32 and 118 layers, and how fast that grows.

    python benchmarks/compile_time.py [LAYERS ...]

The exponent is that of seconds = c * layers**exponent between two rows; n * log n from 8 to 118 layers is 1.3.
"""

import itertools
import math
import sys
import time
from functools import partial

import jax
from atoll.compiler.export.frontend import export
from atoll.compiler.export.job import Job
from atoll.compiler.mlir.bindings import ir
from atoll.compiler.module.marks import PLAN, TOPOLOGY
from atoll.compiler.pipeline.pass_base import Step, step_name
from atoll.compiler.pipeline.pass_manager import run_passes
from atoll.compiler.pipeline.pipeline import PHASES
from atoll.compiler.pipeline.registry import steps_of_phase
from atoll.compiler.plan.plan import Plan
from atoll.examples import decoder
from rows import Row, tell


def module_of(layers: int, plan: Plan, topology: str) -> ir.Module:
    """The train step of an unrolled decoder of tiny width, as jax exports it."""
    config = decoder.Config(vocabulary=16, width=8, heads=2, layers=layers, length=8)
    state = jax.eval_shape(partial(decoder.init_state, config=config), jax.random.key(0))
    tokens = jax.ShapeDtypeStruct((8, config.length + 1), "int32")
    module = export(Job(decoder.train_step, state, tokens, batch_argnums=1, donate_argnums=0))
    with module.context:
        module.operation.attributes[TOPOLOGY] = ir.StringAttr.get(topology)
        module.operation.attributes[PLAN] = ir.StringAttr.get(str(plan))
    return module


def seconds_of_passes(module: ir.Module) -> dict[str, float]:
    """How long each pass takes, with the verification after it; of this process alone, as machines are shared."""
    seconds: dict[str, float] = {}
    before = time.process_time()

    def note(step: Step, _module: ir.Module) -> None:
        nonlocal before
        now = time.process_time()
        seconds[step_name(step)] = now - before
        before = now

    for phase in PHASES:
        run_passes(module, steps_of_phase(phase), note)
    return seconds


def stage_text(layers: int) -> str:
    """Four stages of the decoder by their scopes."""
    bounds = [layers * part // 4 for part in range(5)]
    parts = [f"layer_[{first}..{end - 1}]" for first, end in itertools.pairwise(bounds)]
    return f"embed, {' | '.join(parts)}, head"


def main() -> None:
    sizes = [int(argument) for argument in sys.argv[1:]] or [8, 32, 118]
    plans = {
        "automatic cut, 4 stages": lambda _: Plan(stages=4, microbatches=1),
        "stage text, 4 stages": lambda layers: Plan(stages=stage_text(layers), microbatches=1),
        "4 stages, 8 microbatches, zb-h1": lambda _: Plan(stages=4, microbatches=8, schedule="zb-h1"),
    }
    for title, plan in plans.items():
        rows = [seconds_of_passes(module_of(layers, plan(layers), "4 x cpu[1]")) for layers in sizes]
        print_table(title, sizes, rows)


def print_table(title: str, sizes: list[int], rows: list[dict[str, float]]) -> None:
    for size, row in zip(sizes, rows, strict=True):
        tell(Row(f"passes, {size} layers, {title}", "s", sum(row.values())))
    print(f"{title:<40}" + "".join(f"{size:>10}" for size in sizes) + "  exponent")
    for name in [*rows[0], "all passes"]:
        taken = [sum(row.values()) if name == "all passes" else row[name] for row in rows]
        growth = math.log(taken[-1] / taken[0]) / math.log(sizes[-1] / sizes[0]) if len(sizes) > 1 else math.nan
        print(f"{name:<40}" + "".join(f"{one:>9.3f}s" for one in taken) + f"{growth:>10.2f}", flush=True)


if __name__ == "__main__":
    main()
