"""The entry function of a module, and the attributes of ours that its arguments and results carry."""

from dataclasses import dataclass

from atoll.compiler.diagnostics import refuse
from atoll.compiler.functions import argument_attributes, functions_in, result_attributes
from atoll.compiler.mlir import func, ir

# The pytree path, in the user's words: `state['params']['w']`, `result[0]`.
PATH = "atoll.path"
# On an argument with the batch on axis 0.
BATCH = "atoll.batch"
# On an argument or a result that stands for as many values as there are microbatches, each of the type it has; on a
# loop over microbatches the numbers of the results that are of this kind.
PARTS = "atoll.parts"
# On a result with parts: the dimension along which they make up the whole; 0 if it is not said.
PARTS_DIMENSION = "atoll.parts_dimension"
# On an argument or a result that is a piece of what the caller knows as one array: all pieces have its path.
PIECE = "atoll.piece"
# On an argument whose buffers the caller gives away.
DONATED = "atoll.donated"
# On the module: the phase that its verifier vouched for, and the texts it was compiled with.
PHASE = "atoll.phase"
TOPOLOGY = "atoll.topology"
PLAN = "atoll.plan"


@dataclass(frozen=True)
class Piece:
    """Which piece of an array an argument or a result is: along a dimension, from where on, and the size of all."""

    dimension: int
    start: int
    whole: int

    def attribute(self) -> ir.Attribute:
        return ir.DenseI64ArrayAttr.get([self.dimension, self.start, self.whole])


def entry_function(module: ir.Module) -> func.FuncOp:
    """`@main`, with exactly one block, or an error at the module."""
    main = functions_in(module).get("main")
    if main is None:
        raise refuse(module.operation.location, "the module has no function @main", "name the entry function @main")
    if len(list(main.regions[0].blocks)) != 1:
        raise refuse(main.location, "@main must have one block", "use structured control flow")
    return main


def text_attribute(attributes: ir.OpAttributeMap | ir.DictAttr, name: str) -> str | None:
    """A string attribute's value, or None if it is absent or no string."""
    if name not in attributes:
        return None
    value = attributes[name]
    return value.value_bytes.decode(errors="replace") if isinstance(value, ir.StringAttr) else None


def parts_of(marks: ir.DictAttr) -> int | None:
    """How many parts an argument or a result has, one for each microbatch; None if it is whole."""
    return ir.IntegerAttr(marks[PARTS]).value if PARTS in marks else None


def dimension_of(marks: ir.DictAttr) -> int | None:
    """The dimension along which the parts of an argument or a result make up the whole; None if it is whole."""
    if PARTS not in marks:
        return None
    return ir.IntegerAttr(marks[PARTS_DIMENSION]).value if PARTS_DIMENSION in marks else 0


def check_paths(main: func.FuncOp) -> None:
    """Refuse arguments and results without a pytree path, and two of a kind with the same one."""
    for kind, attributes in (("argument", argument_attributes(main)), ("result", result_attributes(main))):
        first: dict[str, int] = {}
        for index, attribute in enumerate(attributes):
            path = text_attribute(attribute, PATH)
            if path is None:
                raise refuse(main.location, f"{kind} {index} of @main has no {PATH}", f'add {{{PATH} = "..."}}')
            if path in first:
                what = f"{kind}s {first[path]} and {index} of @main are both {path}"
                raise refuse(main.location, what, f"give each its own {PATH}")
            first[path] = index
