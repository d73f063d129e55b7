"""What `resolve-plan` has chosen of how the batch is divided, and how to take that back."""

from collections.abc import Callable
from typing import TypeVar

from atoll.compiler.errors import AtollError
from atoll.compiler.mlir.bindings import ir
from atoll.compiler.mlir.ir_text import parse_text, to_bytecode
from atoll.compiler.module.notes import OneMicrobatch, PlannedDivision
from atoll.compiler.module.noting import add_note, notes_of
from atoll.compiler.module.planned import plan_of, set_plan
from atoll.compiler.tracebacks import first_line

_T = TypeVar("_T")


def without_refused_choice(module: ir.Module, run: Callable[[ir.Module], _T]) -> tuple[ir.Module, _T]:
    """Do something with a module that chooses how to divide the batch. If that is refused, do it without such a choice:
    what nobody asked for must not be what fails.

    Returns the module with which it was done, and what came of it.
    """
    start = to_bytecode(module)
    try:
        return module, run(module)
    except AtollError as refusal:
        before = parse_text(start)
        if not _is_chosen_between(before, module):
            raise
        module = _undivided(before, refusal)
    return module, run(module)  # if this fails too, it is not for the microbatches


def _is_chosen_between(before: ir.Module, after: ir.Module) -> bool:
    try:
        return is_division_chosen(after) and not is_division_chosen(before)
    except AtollError:  # the notes are what is refused
        return False


def is_division_chosen(module: ir.Module) -> bool:
    """Whether the batch is divided, or something is on the host, although nobody has asked for that."""
    facts = (note.fact for note in notes_of(module))
    return any(isinstance(fact, PlannedDivision) and (fact.parts > 1 or fact.beside) for fact in facts)


def _undivided(module: ir.Module, refusal: AtollError) -> ir.Module:
    """The module as it was before that, with one microbatch in its plan, and why."""
    with module.context:
        set_plan(module, plan_of(module))
    add_note(module, module.operation.location, OneMicrobatch(f"more are refused: {first_line(refusal)}"))
    return module
