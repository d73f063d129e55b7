"""Pass `drop-dead-arguments`."""

import logging
from dataclasses import dataclass

from atoll.compiler.mlir.bindings import ir
from atoll.compiler.mlir.functions import argument_attributes, arguments_of, body_of, is_used, set_inputs
from atoll.compiler.module.main_function import entry_function
from atoll.compiler.pipeline.pass_base import Pass

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DropDeadArguments(Pass):
    """Remove the arguments of @main that nothing uses.

    Callers find the arguments by their `atoll.path`, so the ones that stay keep their names.

    Requires: one `@main` of one block.

        func.func @main(%a {atoll.path = "x"}, %b {atoll.path = "unused"}) { return %a }
        ~~>
        func.func @main(%a {atoll.path = "x"}) { return %a }
    """

    def run(self, module: ir.Module) -> None:
        main = entry_function(module)
        dead = [argument.arg_number for argument in arguments_of(main) if not is_used(argument)]
        if not dead:
            log.info("nothing to do: every argument of @main is used")
            return
        attributes = argument_attributes(main)
        for index in reversed(dead):  # so that the indices ahead stay true
            body_of(main).erase_argument(index)
            del attributes[index]
        set_inputs(main, [argument.type for argument in arguments_of(main)], attributes)
