"""The role of a loop over microbatches: what each of its sweeps over the stages is for, a letter each.

`F` goes forward, `FB` forward and backward, and in `FBW` the gradients of weights are a sweep of their own. A free
placement is no pipeline, and each of its sweeps is `F`.
"""

import re

from atoll.compiler.mlir.attributes import text_attribute
from atoll.compiler.mlir.bindings import ir, mpmd
from atoll.compiler.mlir.diagnostics import refuse
from atoll.compiler.module.marks import ROLE
from atoll.compiler.task_name import BACKWARD, FORWARD, WEIGHT
from atoll.compiler.text.language import shown

_ROLE = re.compile(f"[{FORWARD}{BACKWARD}{WEIGHT}]+")


def loop_role(loop: mpmd.ForOp) -> str:
    """The role that `order-sweeps` has given a loop."""
    attributes = loop.operation.attributes
    if ROLE not in attributes:
        raise refuse(loop.location, f"a loop over microbatches has no {ROLE}", "run order-sweeps")
    role = text_attribute(attributes, ROLE)
    if role is None or not _ROLE.fullmatch(role):
        what = f"{ROLE} is {attributes[ROLE] if role is None else shown(role)}"
        raise refuse(loop.location, what, f'write a letter for each sweep: {ROLE} = "FB"')
    return role


def set_loop_role(loop: mpmd.ForOp, role: str) -> None:
    """Write the role on the loop."""
    loop.operation.attributes[ROLE] = ir.StringAttr.get(role)
