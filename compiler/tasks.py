"""Reads the operations of the MPMD dialect that stand for tasks."""

from atoll.compiler.mlir import ir, mpmd


def task_name(operation: mpmd.FragmentOp | mpmd.FragmentCallOp) -> str:
    """The task's name, which is the fragment's origin: `F0`, `B1`."""
    origin = mpmd.UserOriginAttr(ir.ArrayAttr(operation.operation.attributes["origin"])[0])
    return origin.user_name


def mesh_name(operation: mpmd.FragmentOp | mpmd.FragmentCallOp) -> str:
    """The island that the task runs on."""
    return ir.StringAttr(operation.operation.attributes["mesh_name"]).value


def code_name(call: mpmd.FragmentCallOp) -> str:
    """The function that the task calls."""
    return ir.FlatSymbolRefAttr(call.operation.attributes["callee"]).value
