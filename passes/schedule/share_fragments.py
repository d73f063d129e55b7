"""Pass `share-fragments`."""

import logging
from dataclasses import dataclass

from atoll.compiler.mlir.bindings import func, ir
from atoll.compiler.mlir.functions import symbol_name
from atoll.compiler.module.tasks import calls_in, code_name, dataflow_functions, fragment_functions
from atoll.compiler.pipeline.pass_base import Pass

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ShareFragments(Pass):
    """Let tasks whose functions are equal, locations aside, call one of them: equal fragments compile once.

    Requires: `outline-fragments` before.

          %0 = mpmd.fragment_call<mesh="a", origin=["F0"]> @F0(%x)
          %1 = mpmd.fragment_call<mesh="b", origin=["F1"]> @F1(%y)
        func.func private @F0(%a) { %1 = negate %a; return %1 }
        func.func private @F1(%a) { %1 = negate %a; return %1 }
        ~~>
          %0 = mpmd.fragment_call<mesh="a", origin=["F0"]> @F0(%x)
          %1 = mpmd.fragment_call<mesh="b", origin=["F1"]> @F0(%y)
        func.func private @F0(%a) { %1 = negate %a; return %1 }
    """

    def run(self, module: ir.Module) -> None:
        functions = fragment_functions(module)
        first_of: dict[str, str] = {}
        kept = {name: first_of.setdefault(_text(function), name) for name, function in functions.items()}
        shared = [name for name in kept if kept[name] != name]
        if not shared:
            log.info("nothing to do: no two fragments are equal")
            return
        for call in (call for one in dataflow_functions(module).values() for call in calls_in(one)):
            call.operation.attributes["callee"] = ir.FlatSymbolRefAttr.get(kept[code_name(call)])
        for name in shared:
            functions[name].operation.erase()
        log.info("%d of %d fragments are left", len(functions) - len(shared), len(functions))


def _text(function: func.FuncOp) -> str:
    """The function as text, without its name and its locations."""
    name = symbol_name(function)
    # In local scope: otherwise names for all values of the module would be made up again for each function.
    text = str(function.operation.get_asm(enable_debug_info=False, use_local_scope=True))
    head, mark, tail = text.partition(f"@{name}")
    if not mark:
        head, _, tail = head.partition(f'@"{name}"')
    return head + tail
