"""Counts of what becomes of each model of the zoo, by plans that cut it in stages, microbatches and replicas: loops,
tasks and bytes. Nothing is compiled by XLA.

`make zoo-counts` writes `zoo_counts.txt` anew, which `test_zoo_counts.py` compares with: whoever changes a pass sees
there what it changes elsewhere.
"""

from pathlib import Path

import jax
import zoo
from atoll.compiler.errors import CompileError, PlanError
from atoll.compiler.pipeline.pipeline import PHASES
from atoll.runtime.program import Run

import atoll

FILE = Path(__file__).with_suffix(".txt")
PLANS = {
    "stages": atoll.Plan(stages=2, microbatches=1, schedule="gpipe"),
    "microbatches": atoll.Plan(stages=2, microbatches=4, schedule="1f1b"),
    "replicas": atoll.Plan(replicas=2, stages=1, microbatches=2, schedule="gpipe"),
}
# jax lowers a model to other operations from one release to another.
HEAD = f"jax {jax.__version__}, {sum(len(phase.passes) for phase in PHASES)} passes"


def counted(model: str, plan: str) -> str:
    """The line of a model and a plan."""
    case = zoo.CASES[model]()
    options = {"donate_argnums": case.donate, "batch_argnums": case.batch, "plan": PLANS[plan]}
    try:
        lowered = atoll.lower(case.fn, *case.args, topology="2 x cpu[1]", **options)
    except (CompileError, PlanError) as error:
        return f"{model}, {plan}: refused, as {error.what.partition(',')[0]}"
    report, timed = lowered.report(), str(lowered.ir("timed"))
    tasks = [sum(isinstance(one, Run) for one in island.instructions) for island in lowered.program.islands]
    numbers = {
        "loops": timed.count("mpmd.for"),
        "operations": timed.count(" = "),
        "tasks": "+".join(map(str, tasks)),
        "codes": report.fragments,
        "cost": "+".join(str(island.cost) for island in report.islands),
        "peaks": "+".join(str(island.peak_bytes) for island in report.islands),
        "sent": sum(link.bytes for link in report.links),
    }
    return f"{model}, {plan}: {', '.join(f'{name} {number}' for name, number in numbers.items())}"


if __name__ == "__main__":
    lines = [HEAD, *(counted(model, plan) for model in zoo.CASES for plan in PLANS)]
    FILE.write_text("\n".join([*lines, ""]), encoding="utf-8")
