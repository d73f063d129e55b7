"""Pass `verify-placed`."""

from dataclasses import dataclass

from atoll.compiler.diagnostics import refuse
from atoll.compiler.entry import PHASE, entry_function
from atoll.compiler.functions import body_of, operations_in
from atoll.compiler.mesh_types import island_of, topology_attribute
from atoll.compiler.mlir import func, ir, mpmd
from atoll.compiler.pass_base import Pass
from atoll.compiler.plan_marks import STAGE, SWEEP, topology_of

_ALLOWED = (mpmd.FragmentOp, mpmd.TransferOp, func.ReturnOp)


@dataclass(frozen=True)
class VerifyPlaced(Pass):
    """Check that the module is in phase `placed`, and record it.

    `@main` holds nothing but fragments and transfers on the islands of the topology; every fragment has its stage, its
    sweep and a name of its own; no value is sent to an island twice, or to where it is. That values are on one island
    each, and used there, is what the MPMD dialect itself verifies.

    Requires: phase `staged`.

        module attributes {atoll.phase = "staged"} {...}
        ~~>
        module attributes {atoll.phase = "placed"} {...}
    """

    def run(self, module: ir.Module) -> None:
        main = entry_function(module)
        topology = topology_of(module)
        attributes = main.attributes
        if "topology" not in attributes or attributes["topology"] != topology_attribute(topology, module.context):
            raise refuse(main.location, "the topology of @main is not the module's", "run make-fragments")
        for operation in body_of(main).operations:
            if not isinstance(operation, _ALLOWED):
                what = f"{operation.operation.name} stands in @main, outside of every fragment"
                raise refuse(operation.location, what, "run make-fragments")
            if isinstance(operation, mpmd.FragmentOp):
                marks = operation.operation.attributes
                if STAGE not in marks or SWEEP not in marks:
                    raise refuse(operation.location, "a fragment has no stage or no sweep", f"add {STAGE} and {SWEEP}")
        _check_names(main)
        _check_transfers(main)
        module.operation.attributes[PHASE] = ir.StringAttr.get("placed")


def _check_names(main: func.FuncOp) -> None:
    """The names of tasks become those of functions."""
    names: set[str] = set()
    for fragment in operations_in(main, mpmd.FragmentOp):
        origin = ir.ArrayAttr(fragment.operation.attributes["origin"])
        if len(origin) != 1:
            raise refuse(fragment.location, f"a fragment has {len(origin)} names", 'write origin=["F0"]')
        name = mpmd.UserOriginAttr(origin[0]).user_name
        if name in names or name == "main":
            raise refuse(fragment.location, f"the name {name} is taken", "give each fragment its own")
        names.add(name)


def _check_transfers(main: func.FuncOp) -> None:
    """A value may be sent on; seen from its maker it still reaches each island once."""
    origin: dict[ir.Value[ir.Type], ir.Value[ir.Type]] = {}
    reached: set[tuple[ir.Value[ir.Type], str]] = set()
    for transfer in operations_in(main, mpmd.TransferOp):
        source, target = transfer.operation.operands[0], transfer.operation.results[0]
        made = origin.setdefault(target, origin.get(source, source))
        island = island_of(target.type)
        if island == island_of(made.type) or (made, island) in reached:
            raise refuse(transfer.location, f"a value is sent to {island}, where it is already", "use it there")
        reached.add((made, island))
