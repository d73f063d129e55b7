"""Prints what the number of microbatches adds to compiling: the time of the passes, and what they make.

    python benchmarks/microbatch_count.py [FEW MANY]

The loop over microbatches stays rolled, so the IR of every phase, the fragments and the executables are as many for 512
microbatches as for 4; a batch argument is one, however many parts it has. Only the table of tasks grows.
"""

import sys

import jax
from atoll.compiler.emit.emit import emit
from atoll.compiler.export.frontend import lower_traced, signature_of, trace
from atoll.compiler.export.job import Job
from atoll.compiler.export.signature import Signature
from atoll.compiler.mlir.bindings import ir
from atoll.compiler.mlir.functions import operations_in
from atoll.compiler.mlir.ir_text import parse_text, to_bytecode
from atoll.compiler.module.marks import PLAN, TOPOLOGY
from atoll.compiler.pipeline.pass_manager import run_passes
from atoll.compiler.pipeline.pipeline import PHASES
from atoll.compiler.pipeline.registry import steps_of_phase
from atoll.compiler.plan.plan import Plan
from atoll.examples import decoder
from atoll.runtime.program import Program, Run
from compile_time import seconds_of_passes
from rows import Row, tell

LAYERS, ISLANDS = 16, 4
EXAMPLES = 1  # in a microbatch, so that all shapes but that of the batch are the same
REPETITIONS = 3


def module_of(microbatches: int) -> tuple[bytes, Signature]:
    """The train step of an unrolled decoder of tiny width, as jax exports it; and how it is called."""
    config = decoder.Config(vocabulary=16, width=8, heads=2, layers=LAYERS, length=8)
    state = jax.eval_shape(lambda key: decoder.init_state(key, config), jax.random.key(0))
    tokens = jax.ShapeDtypeStruct((EXAMPLES * microbatches, config.length + 1), "int32")
    job = Job(decoder.train_step, state, tokens, donate_argnums=0, batch_argnums=1)
    traced = trace(job)
    module = lower_traced(job, traced, "cpu")[0]
    with module.context:
        module.operation.attributes[TOPOLOGY] = ir.StringAttr.get(f"{ISLANDS} x cpu[1]")
        plan = Plan(stages=ISLANDS, microbatches=microbatches, schedule="zb-h1")
        module.operation.attributes[PLAN] = ir.StringAttr.get(str(plan))
    return to_bytecode(module), signature_of(job, traced)


def least_seconds(modules: dict[int, bytes]) -> dict[int, dict[str, float]]:
    """The time of each pass: the least of several, which other work on the machine disturbed the least. The modules
    take turns, so that what changes with time changes all alike."""
    taken: dict[int, list[dict[str, float]]] = {count: [] for count in modules}
    for _ in range(REPETITIONS):
        for count, module in modules.items():
            taken[count].append(seconds_of_passes(parse_text(module)))
    return {count: {name: min(one[name] for one in rows) for name in rows[0]} for count, rows in taken.items()}


def made_of(module: bytes, signature: Signature) -> dict[str, int]:
    """How many operations there are at each phase, and what the program consists of."""
    parsed, counts = parse_text(module), {}
    for phase in PHASES:
        run_passes(parsed, steps_of_phase(phase))
        counts[f"operations, {phase.name}"] = len(operations_in(parsed, ir.OpView))
    program = emit(parsed, signature)
    return {**counts, "fragments": len(program.codes), "executables": len(executables_of(program))}


def executables_of(program: Program) -> set[tuple[str, int]]:
    """The pairs of island and fragment, each of which XLA compiles once."""
    return {
        (island.name, one.code) for island in program.islands for one in island.instructions if isinstance(one, Run)
    }


def main() -> None:
    few, many = [int(argument) for argument in sys.argv[1:]] or [4, 512]
    modules = {count: module_of(count) for count in (few, many)}
    made = {count: made_of(*module) for count, module in modules.items()}
    seconds = least_seconds({count: module for count, (module, _) in modules.items()})
    print(f"{'microbatches':<32}{few:>10}{many:>10}   ratio")
    for name in made[few]:
        print_row(name, made[few][name], made[many][name], "d")
    for name in seconds[few]:
        print_row(name, seconds[few][name], seconds[many][name], ".3f")
    totals = {count: sum(seconds[count].values()) for count in (few, many)}
    print_row("seconds of all passes", totals[few], totals[many], ".3f")
    tell(Row(f"passes, {many} microbatches", "s", totals[many], {f"{few} microbatches": totals[few]}))


def print_row(name: str, few: float, many: float, form: str) -> None:
    print(f"{name:<32}{few:>10{form}}{many:>10{form}}{many / few if few else 1:>8.3f}", flush=True)


if __name__ == "__main__":
    main()
