"""Runs the first passes of a compilation, with what the whole of it makes of an open plan."""

from collections.abc import Callable, Sequence

from atoll.compiler.mlir.bindings import ir
from atoll.compiler.mlir.ir_text import copy_module
from atoll.compiler.module.division import is_division_chosen, without_refused_choice
from atoll.compiler.pipeline.pass_base import Step
from atoll.compiler.pipeline.pass_manager import Observer, run_passes
from atoll.compiler.pipeline.resume import phases_left


def run_first(
    module: ir.Module, steps: Sequence[Step], observer_of: Callable[[ir.Module], Observer] | None = None
) -> ir.Module:
    """Run the first of the steps that are left of a module; return it, or a copy on which they ran in the end.

    What is chosen of how the batch is divided counts only if no later pass refuses it; else the compilation goes on
    without, and so do the steps.
    observer_of: makes an observer for a module on which they are to run.
    """
    every = [step for _, left in phases_left(module) for step in left]

    def run(module: ir.Module) -> None:
        run_passes(module, steps, None if observer_of is None else observer_of(module))
        if is_division_chosen(module):
            run_passes(copy_module(module), every[len(steps) :])

    return without_refused_choice(module, run)[0]
