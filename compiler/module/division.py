"""What `resolve-plan` has chosen of how the batch is divided, and how to take that back."""

from atoll.compiler.errors import AtollError
from atoll.compiler.mlir.bindings import ir
from atoll.compiler.module.notes import OneMicrobatch, PlannedDivision
from atoll.compiler.module.noting import add_note, notes_of
from atoll.compiler.module.planned import plan_of, set_plan
from atoll.compiler.tracebacks import first_line


def is_division_chosen(module: ir.Module) -> bool:
    """Whether the batch is divided, or something is on the host, although nobody has asked for that."""
    facts = (note.fact for note in notes_of(module))
    return any(isinstance(fact, PlannedDivision) and (fact.parts > 1 or fact.beside) for fact in facts)


def undivided(module: ir.Module, refusal: AtollError) -> ir.Module:
    """The module as it was before that, with one microbatch in its plan, and why."""
    with module.context:
        set_plan(module, plan_of(module))
    add_note(module, module.operation.location, OneMicrobatch(f"more are refused: {first_line(refusal)}"))
    return module
