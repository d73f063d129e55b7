"""Checks what fragments are called: each has a name of its own, which says in which loop it stands and what it does."""

from collections.abc import Collection

from atoll.compiler.mlir.attributes import integer_attribute
from atoll.compiler.mlir.bindings import ir, mpmd
from atoll.compiler.mlir.diagnostics import refuse
from atoll.compiler.mlir.functions import operations_in
from atoll.compiler.module.loop_roles import loop_role
from atoll.compiler.module.main_function import entry_function
from atoll.compiler.module.marks import ROLE, STAGE
from atoll.compiler.module.tasks import dataflow_functions, microbatch_name, task_name
from atoll.compiler.task_name import TaskName, loop_in_names

_Task = mpmd.FragmentOp | mpmd.FragmentCallOp


def check_names(module: ir.Module, kind: type[_Task], taken: Collection[str] = ()) -> None:
    """Refuse a name that another fragment has, or that is taken, and one that says what is not so."""
    functions = dataflow_functions(module)
    loops = operations_in(entry_function(module), mpmd.ForOp)
    numbers = {microbatch_name(loop): number for number, loop in enumerate(loops)}
    names = set(taken)
    for function_name, function in functions.items():
        number = numbers.get(function_name)
        for fragment in operations_in(function, kind):
            name = task_name(fragment)
            if str(name) in names:
                raise refuse(fragment.location, f"the name {name} is taken", "give each fragment its own")
            names.add(str(name))
            stage = integer_attribute(fragment.operation, STAGE)
            if stage not in (None, name.number):
                right = name._replace(number=stage or 0)
                raise refuse(fragment.location, f"{name} is of stage {stage}", f"call it {right}")
            if number is not None:
                _check_in_loop(fragment, name, loop_role(loops[number]), loop_in_names(number, len(loops)))


def _check_in_loop(fragment: _Task, name: TaskName, role: str, loop: int | None) -> None:
    if name.loop != loop:
        where = "the last loop" if loop is None else f"loop {loop}"
        raise refuse(fragment.location, f"{name} stands in {where}", f"call it {name._replace(loop=loop)}")
    if name.kind not in role:
        what = f'{name} stands in a loop with {ROLE} = "{role}"'
        raise refuse(fragment.location, what, f"take a letter of that, or add {name.kind} to it")
