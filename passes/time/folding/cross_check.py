"""Compares what the rules say of every value with what Shardy's propagation makes of the same program.

Propagation over an axis made for this purpose, along which the examples are divided, answers much the same question as
the rules do. It is no authority: what Shardy has no sharding rule for loses what was known, and through some operations
that move examples about it passes all the same. So where the two differ, the log says so, and the rules are followed.
"""

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from atoll.compiler.batch_rules.decision import Decision, Entry
from atoll.compiler.batch_rules.interpretation import Interpretation
from atoll.compiler.batch_rules.nodes import NodeTree, described
from atoll.compiler.batch_rules.states import ABSENT, SAME, Split, State
from atoll.compiler.mlir.bindings import ir, sdy
from atoll.compiler.mlir.functions import (
    argument_attributes,
    arguments_of,
    operations_in,
    result_attributes,
    set_argument_attributes,
    set_result_attributes,
)
from atoll.compiler.mlir.ir_text import copy_module
from atoll.compiler.mlir.locations import place
from atoll.compiler.module.interface import batch_dimension
from atoll.compiler.module.main_function import entry_function
from atoll.compiler.module.shardings import SHARDING, result_specs
from atoll.passes.time.folding.levels import Levels
from atoll.passes.time.folding.propagation import after_propagation, all_nodes

log = logging.getLogger(__name__)

_MESH, _AXIS = "microbatches", "microbatch"

# How many differences get a line of their own; the others, and what follows from them, are only counted.
_LINES = 10


def cross_check(scope: Interpretation, levels: Levels) -> None:
    """Log where Shardy's propagation differs from what was decided; nothing depends on it.

    It runs only for those who see that log: it takes as long as some passes, and an abort in native code would end the
    process.
    """
    if not log.isEnabledFor(logging.INFO):
        return
    program = scope.batch.program
    copy = copy_module(program.module)
    with copy.context, ir.Location.unknown():
        if not _divide_examples(copy, program.parts):
            log.info("not compared with Shardy's propagation: the program has operations of Shardy's own")
            return
        other = after_propagation(program, copy, "not compared with Shardy's propagation")
    if other is None:
        return
    _tell(program, _forms(scope, levels), _states(other))


def _divide_examples(copy: ir.Module, parts: int) -> bool:
    """Divide the examples over an axis, and nothing over any other; False if other shardings cannot be taken away."""
    for view in operations_in(copy.operation, ir.OpView):
        operation = view.operation
        if isinstance(view, sdy.MeshOp):
            operation.erase()
        elif isinstance(view, sdy.ShardingConstraintOp):
            operation.attributes["sharding"] = _sharding(["{?}"] * _rank(view.result))
        elif operation.name.startswith("sdy.") and operation.name != "sdy.return":
            return False
        elif SHARDING in operation.attributes:
            del operation.attributes[SHARDING]
    mesh = ir.Operation.parse(f'sdy.mesh @{_MESH} = <["{_AXIS}"={parts}]>')
    ir.InsertionPoint.at_block_begin(copy.body).insert(mesh)
    main = entry_function(copy)
    given = zip(arguments_of(main), argument_attributes(main), strict=True)
    marks = [_divided(argument, batch_dimension(marks)) for argument, marks in given]
    set_argument_attributes(main, [ir.DictAttr.get({SHARDING: one}) for one in marks])
    set_result_attributes(main, [ir.DictAttr.get({}) for _ in result_attributes(main)])
    return True


def _divided(value: "ir.Value[ir.Type]", dimension: int | None) -> ir.Attribute:
    """A sharding that divides a dimension, or none."""
    return _sharding([f'{{"{_AXIS}"}}' if one == dimension else "{}" for one in range(_rank(value))])


def _rank(value: "ir.Value[ir.Type]") -> int:
    return ir.RankedTensorType(value.type).rank


def _sharding(dimensions: Sequence[str]) -> ir.Attribute:
    return ir.Attribute.parse(f"#sdy.sharding<@{_MESH}, [{', '.join(dimensions)}]>")


def _states(program: NodeTree) -> dict[int, State]:
    """The form that propagation gives to each result that has dimensions."""
    found: dict[int, State] = {}
    for node in all_nodes(program.body):
        for value, spec in zip(node.results, result_specs(node.operation.opview), strict=False):
            found[value] = next((Split(number) for number, axes in enumerate(spec) if axes), SAME)
    return found


def _forms(scope: Interpretation, levels: Levels) -> dict[int, set[State]]:
    """The forms in which the rules have each value; one without any is the same for all."""
    forms: dict[int, set[State]] = defaultdict(set)
    for value, state in scope.completed.items():
        forms[value].add(state)
    _note_decided(scope.states, scope.decisions, forms)
    for loop in levels.loops:
        _note_entries(loop.entries, forms)
    for entries in levels.around:
        _note_entries((entry for entry in entries if entry.completes is None), forms)
    return forms


def _note_decided(states: Mapping[int, State], decisions: Mapping[int, Decision], forms: dict[int, set[State]]) -> None:
    for value, state in states.items():
        forms[value].add(state)
    for decision in decisions.values():
        for inner in decision.bodies:
            _note_decided(inner.states, inner.decisions, forms)


def _note_entries(entries: Iterable[Entry], forms: dict[int, set[State]]) -> None:
    for entry in entries:
        for value, form in entry.makes():
            if form != ABSENT:
                forms[value].add(form)
        for inner in entry.decision.bodies if entry.decision is not None else ():
            _note_decided(inner.states, inner.decisions, forms)
            _note_entries(inner.entries, forms)


def _tell(program: NodeTree, forms: dict[int, set[State]], propagated: dict[int, State]) -> None:
    """One line for each difference that does not follow from another one."""
    differing: set[int] = set()
    lines: dict[str, None] = {}
    for node in all_nodes(program.body):
        if node.name == "stablehlo.constant":  # it is the same in every part
            continue
        follows = any(operand in differing for operand in (*node.operands, *node.captured))
        for value in node.results:
            ours, theirs = forms.get(value) or {SAME}, propagated[value]
            if not _agree(ours, theirs):
                differing.add(value)
                if not follows:
                    written = " and ".join(sorted(map(str, ours)))
                    lines[f"{described(node)} at {place(node.location)} is {written}, and {theirs} to Shardy"] = None
    for line in list(lines)[:_LINES]:
        log.info("%s", line)
    log.info("Shardy's propagation has %d of %d values in another form", len(differing), len(propagated))


def _agree(ours: set[State], theirs: State) -> bool:
    """Whether the rules have a value in Shardy's form; to Shardy what is partial is the same for all."""
    along = [form.dimension for form in ours if isinstance(form, Split)]
    return theirs.dimension in along if isinstance(theirs, Split) else len(along) < len(ours)
