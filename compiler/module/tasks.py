"""Reads the operations of the MPMD dialect that stand for tasks, and the functions that hold them."""

from typing import TypeGuard

from atoll.compiler.mlir.bindings import builtin, func, ir, mpmd, stablehlo
from atoll.compiler.mlir.diagnostics import refuse
from atoll.compiler.mlir.functions import body_of, functions_in, operations_in
from atoll.compiler.module.graph import is_placeholder
from atoll.compiler.module.loop_roles import loop_role
from atoll.compiler.module.marks import EXCHANGE, SHARE
from atoll.compiler.task_name import TaskName
from atoll.compiler.text.language import shown

# Two kinds of exchanges combine nothing. In one, each replica takes its share of what all have, and nothing crosses;
# the other puts the shares of all replicas together.
OWN_SHARE = "share"
GATHER = "gather"
# The attribute of functions whose values live on islands.
_TOPOLOGY = "topology"


# The operations that stand for an exchange if they are marked as one.
ExchangeOp = mpmd.TransferOp | builtin.UnrealizedConversionCastOp

_PLACEHOLDERS = (stablehlo.ConstantOp, mpmd.AssignOp, builtin.UnrealizedConversionCastOp)


def dataflow_functions(module: ir.Module) -> dict[str, func.FuncOp]:
    """`@main` and the functions of a microbatch, by name: they say what runs where, and compute nothing themselves."""
    functions = functions_in(module).items()
    return {name: one for name, one in functions if name == "main" or _TOPOLOGY in one.attributes}


def fragment_functions(module: ir.Module) -> dict[str, func.FuncOp]:
    """The code of fragments, by name."""
    functions = functions_in(module).items()
    return {name: one for name, one in functions if name != "main" and _TOPOLOGY not in one.attributes}


def task_name(operation: mpmd.FragmentOp | mpmd.FragmentCallOp) -> TaskName:
    """The task, named by the fragment's origin: `F0`, `B1`."""
    origins = [mpmd.UserOriginAttr(one).user_name for one in ir.ArrayAttr(operation.operation.attributes["origin"])]
    if len(origins) != 1:
        raise refuse(operation.location, f"a fragment has {len(origins)} names", 'write origin=["F0"]')
    try:
        name = TaskName.parse(origins[0])
    except ValueError:
        name = None
    if name is None or name.stage is None or name.microbatch is not None:
        what = f"a fragment is called {shown(origins[0])}, which says no stage and what it does for it"
        raise refuse(operation.location, what, "write for example F0, or L0.F0 in the first of several loops")
    return name


def island_of_task(operation: mpmd.FragmentOp | mpmd.FragmentCallOp) -> str:
    """The island that the task runs on."""
    return ir.StringAttr(operation.operation.attributes["mesh_name"]).value


def code_name(call: mpmd.FragmentCallOp) -> str:
    """The function that the task calls."""
    return ir.FlatSymbolRefAttr(call.operation.attributes["callee"]).value


def calls_in(function: func.FuncOp) -> list[mpmd.FragmentCallOp]:
    """The tasks of a function in phase `scheduled`."""
    return operations_in(function, mpmd.FragmentCallOp)


def transfers_in(function: func.FuncOp) -> list[mpmd.TransferOp]:
    """The transfers between islands of one replica in a function, without exchanges between replicas."""
    return [one for one in operations_in(function, mpmd.TransferOp) if EXCHANGE not in one.operation.attributes]


def exchanges_in(function: func.FuncOp) -> list[ExchangeOp]:
    """The exchanges between replicas in a function. They are transfers to the island where a value already is; where
    replicas give or get shares they are casts, as a transfer keeps the shape."""
    return [one for one in body_of(function).operations if is_exchange(one)]


def is_exchange(operation: ir.OpView) -> TypeGuard[ExchangeOp]:
    """Whether an operation stands for an exchange between replicas."""
    return isinstance(operation, ExchangeOp) and EXCHANGE in operation.operation.attributes


def exchange_kind(exchange: ExchangeOp) -> str:
    """How replicas combine what they have, or one of `OWN_SHARE` and `GATHER`."""
    return ir.StringAttr(exchange.operation.attributes[EXCHANGE]).value


def exchange_share(exchange: ExchangeOp) -> int | None:
    """The dimension along which shares make up the whole; None if no shares are given or got."""
    attributes = exchange.operation.attributes
    return ir.IntegerAttr(attributes[SHARE]).value if SHARE in attributes else None


def check_dataflow(module: ir.Module, task: type[ir.OpView], remedy: str) -> None:
    """Refuse what computes in a dataflow function outside of tasks.

    A loop over microbatches has a role, and in it may stand only the microbatch's number, for each island, and a call
    of the function of one microbatch.
    """
    for name, function in dataflow_functions(module).items():
        for operation in body_of(function).operations:
            if isinstance(operation, mpmd.ForOp):
                _check_loop(module, operation, remedy)
            elif not (
                isinstance(operation, (task, mpmd.TransferOp, func.ReturnOp))
                or is_exchange(operation)
                or (isinstance(operation, _PLACEHOLDERS) and is_placeholder(operation))
            ):
                what = f"{operation.operation.name} stands in @{name}, outside of every fragment"
                raise refuse(operation.location, what, remedy)


def _check_loop(module: ir.Module, loop: mpmd.ForOp, remedy: str) -> None:
    loop_role(loop)
    *body, end = loop.operation.regions[0].blocks[0].operations
    is_call = bool(body) and isinstance(body[-1], mpmd.CallOp)
    is_call = is_call and all(isinstance(one, mpmd.AssignOp) for one in body[:-1])
    if not is_call or list(end.operation.operands) != list(body[-1].operation.results):
        raise refuse(loop.location, "a loop does more than to call the function of a microbatch", remedy)
    if microbatch_name(loop) not in dataflow_functions(module):
        raise refuse(loop.location, f"there is no function @{microbatch_name(loop)} with a topology", remedy)


def microbatch_call(loop: mpmd.ForOp) -> mpmd.CallOp:
    """Where a loop calls the function of a microbatch; besides that it only numbers them."""
    *_, call, _ = loop.operation.regions[0].blocks[0].operations
    assert isinstance(call, mpmd.CallOp)
    return call


def loop_of_call(call: mpmd.CallOp) -> mpmd.ForOp:
    """The loop that calls the function of a microbatch."""
    parent = call.operation.parent
    assert parent is not None
    loop = parent.opview
    assert isinstance(loop, mpmd.ForOp)
    return loop


def microbatch_name(loop: mpmd.ForOp) -> str:
    """The function that a loop over microbatches calls."""
    return ir.FlatSymbolRefAttr(microbatch_call(loop).operation.attributes["callee"]).value
