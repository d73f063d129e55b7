"""Which operations are cheap enough to be computed wherever they are used, rather than sent."""

from collections.abc import Sequence

from atoll.compiler.mlir.bindings import ir, stablehlo
from atoll.compiler.module.graph import ARGUMENT, Graph, elements_of, once
from atoll.compiler.module.scopes import Role
from atoll.passes.stage.operations.roles import roles_of

# What costs little: it does the same to every element, or only moves elements. A list of what is cheap, rather than of
# what is not: an operation that nobody has thought of is then sent, which is always right. A test checks that `effects`
# has all of these among what only computes, as asking that of each operation again would take long in a large program.
_CHEAP = frozenset(
    f"{dialect}.{name}"
    for dialect, names in {
        "chlo": """
            acos acosh asin asinh atan atanh bessel_i1e conj constant cosh digamma erf erf_inv erfc is_inf is_neg_inf
            is_pos_inf lgamma next_after polygamma sinh square tan zeta
        """,
        "sdy": "constant sharding_constraint",
        "stablehlo": """
            abs add and atan2 bitcast_convert broadcast_in_dim cbrt ceil clamp compare complex concatenate constant
            convert cosine count_leading_zeros divide dynamic_slice dynamic_update_slice exponential
            exponential_minus_one floor gather imag iota is_finite log log_plus_one logistic maximum minimum multiply
            negate not optimization_barrier or pad popcnt power real reduce_precision remainder reshape reverse
            round_nearest_afz round_nearest_even rsqrt select shift_left shift_right_arithmetic shift_right_logical
            sign sine slice sqrt subtract tan tanh transpose xor
        """,
    }.items()
    for name in names.split()
)


def may_be_copied(operation: ir.OpView) -> bool:
    """Whether an operation costs little and does nothing but compute its results, always the same."""
    return operation.operation.name in _CHEAP


def copied(graph: Graph) -> Sequence[bool]:
    """Which operations are copied to wherever they are used: what depends only on constants and scalar arguments;
    broadcasts of scalars, as then the scalar is sent in place of the array; and in the update, scalars that are made of
    one scalar."""
    is_copied, _ = _copied_and_sent(graph)
    return is_copied


def sent_operands(graph: Graph) -> Sequence[Sequence[int]]:
    """What must be at hand for each operation when everything that is copied is copied to it."""
    _, sources = _copied_and_sent(graph)
    return sources


def sent_beside(graph: Graph, is_copied: Sequence[bool]) -> list[list[int]]:
    """The same when others are copied."""
    sources: list[list[int]] = []
    for index in range(len(graph.operations)):
        sources.append(_sources_of(graph, index, is_copied, sources))
    return sources


@once
def _copied_and_sent(graph: Graph) -> tuple[list[bool], list[list[int]]]:
    roles = roles_of(graph)
    is_copied: list[bool] = []
    sources: list[list[int]] = []
    for index, operation in enumerate(graph.operations):
        sources.append(_sources_of(graph, index, is_copied, sources))
        # What a loop hands from one iteration to the next exists once, not once in each fragment.
        is_copied.append(
            may_be_copied(operation)
            and not any(graph.is_yielded[value] for value in graph.results[index])
            and _sends_no_more(graph, index, roles[index], is_copied, sources[index])
        )
    return is_copied, sources


def _sources_of(graph: Graph, index: int, is_copied: Sequence[bool], sources: Sequence[list[int]]) -> list[int]:
    """What must be at hand for one operation, where that is known of those before it."""
    found: dict[int, None] = {}
    for value in graph.operands[index]:
        producer = graph.producer[value]
        through = sources[producer] if producer != ARGUMENT and is_copied[producer] else [value]
        found.update(dict.fromkeys(through))
    return list(found)


def _sends_no_more(graph: Graph, index: int, role: Role, is_copied: Sequence[bool], sources: Sequence[int]) -> bool:
    """Whether copying an operation sends no more than sending its result would."""
    computed = [value for value in sources if not _is_scalar_argument(graph, value)]
    if role is Role.UPDATE and computed and all(is_scalar(graph.values[value]) for value in graph.results[index]):
        # One computed scalar is sent, whatever scalars are made of it. Two are not sent in place of what is made of
        # both: so a sum of many, added one after the other, crosses to another stage as one scalar. Not in the model,
        # where a plan may say on which stage a scalar is computed.
        return len(sources) == 1 and is_scalar(graph.values[computed[0]])
    expensive = [value for value in graph.operands[index] if not _is_at_hand(graph, value, is_copied)]
    is_broadcast = isinstance(graph.operations[index], stablehlo.BroadcastInDimOp)
    return not expensive or (is_broadcast and is_scalar(graph.values[expensive[0]]))


def _is_at_hand(graph: Graph, value: int, is_copied: Sequence[bool]) -> bool:
    producer = graph.producer[value]
    return _is_scalar_argument(graph, value) if producer == ARGUMENT else is_copied[producer]


def _is_scalar_argument(graph: Graph, value: int) -> bool:
    return graph.producer[value] == ARGUMENT and is_scalar(graph.values[value])


def is_scalar(value: "ir.Value[ir.Type]") -> bool:
    return elements_of(value.type) == 1


def is_inexact(value: "ir.Value[ir.Type]") -> bool:
    return isinstance(value.type, ir.ShapedType) and isinstance(value.type.element_type, (ir.FloatType, ir.ComplexType))
