"""Pass `verify-placed`."""

from dataclasses import dataclass

from atoll.compiler.mlir.bindings import func, ir, mpmd
from atoll.compiler.mlir.diagnostics import refuse
from atoll.compiler.mlir.functions import operations_in
from atoll.compiler.module.check_names import check_names
from atoll.compiler.module.interface import check_pieces
from atoll.compiler.module.main_function import entry_function
from atoll.compiler.module.marking import check_marks
from atoll.compiler.module.marks import PHASE, STAGE, SWEEP
from atoll.compiler.module.mesh_types import island_of, topology_attribute
from atoll.compiler.module.planned import topology_of
from atoll.compiler.module.replicas import replicas_of
from atoll.compiler.module.tasks import check_dataflow, dataflow_functions, transfers_in
from atoll.compiler.pipeline.pass_base import Pass
from atoll.compiler.replicas.check_exchanges import check_exchanges


@dataclass(frozen=True)
class VerifyPlaced(Pass):
    """Check that the module is in phase `placed`, and record it.

    `@main` and the functions of microbatches hold nothing but fragments, transfers and loops on the islands of the
    topology; every loop has its role, and every fragment its stage, its sweep and a name of its own, which says the
    stage and the loop; no value is sent to an island twice, or to where it is. With replicas, each sum that is used is
    exchanged between them, once, and shares fit what they are of. That values are on one island each, and used there,
    is what the MPMD dialect itself verifies.

    Requires: phase `staged`.

        module attributes {atoll.phase = "staged"} {...}
        ~~>
        module attributes {atoll.phase = "placed"} {...}
    """

    def run(self, module: ir.Module) -> None:
        topology = topology_of(module)
        check_marks(module, "placed")
        check_pieces(entry_function(module), replicas_of(module))
        functions = {"main": entry_function(module), **dataflow_functions(module)}
        for name, function in functions.items():
            attributes = function.attributes
            if "topology" not in attributes or attributes["topology"] != topology_attribute(topology, module.context):
                raise refuse(function.location, f"the topology of @{name} is not the module's", "run make-fragments")
        check_dataflow(module, mpmd.FragmentOp, "run make-fragments")
        for fragment in (one for function in functions.values() for one in operations_in(function, mpmd.FragmentOp)):
            marks = fragment.operation.attributes
            if STAGE not in marks or SWEEP not in marks:
                raise refuse(fragment.location, "a fragment has no stage or no sweep", f"add {STAGE} and {SWEEP}")
        check_names(module, mpmd.FragmentOp, taken=functions)  # they become functions with these names
        for function in functions.values():
            _check_transfers(function)
        check_exchanges(module)
        module.operation.attributes[PHASE] = ir.StringAttr.get("placed")


def _check_transfers(function: func.FuncOp) -> None:
    """A value may be sent on; seen from its maker it still reaches each island once."""
    origin: dict[ir.Value[ir.Type], ir.Value[ir.Type]] = {}
    reached: set[tuple[ir.Value[ir.Type], str]] = set()
    for transfer in transfers_in(function):
        source, target = transfer.operation.operands[0], transfer.operation.results[0]
        made = origin.setdefault(target, origin.get(source, source))
        island = island_of(target.type)
        if island == island_of(made.type) or (made, island) in reached:
            raise refuse(transfer.location, f"a value is sent to {island}, where it is already", "use it there")
        reached.add((made, island))
