"""Where arguments live."""

from collections.abc import Mapping, Sequence

from atoll.compiler.mlir.attributes import text_attribute
from atoll.compiler.mlir.bindings import ir
from atoll.compiler.mlir.functions import argument_attributes, result_attributes, type_of
from atoll.compiler.module.feedback import StateLeaf, replacements
from atoll.compiler.module.graph import Graph
from atoll.compiler.module.interface import piece_of
from atoll.compiler.module.main_function import entry_function
from atoll.compiler.module.marks import DONATED, PATH
from atoll.compiler.plan.scope_patterns import path_components


def replaced_arguments(module: ir.Module) -> list[tuple[int, int]]:
    """The donated arguments and the results that replace them, by number: a training loop feeds the one back as the
    other."""
    marks = argument_attributes(entry_function(module))
    return _replaced(module, [number for number, one in enumerate(marks) if DONATED in one])


def fed_back(module: ir.Module) -> list[tuple[int, int]]:
    """The same of all arguments that are part of a pytree, donated or not: their keys say which result is meant."""
    marks = argument_attributes(entry_function(module))
    paths = (path_components(text_attribute(one, PATH) or "") for one in marks)
    return _replaced(module, [number for number, path in enumerate(paths) if path[1:]])


def _replaced(module: ir.Module, arguments: Sequence[int]) -> list[tuple[int, int]]:
    main = entry_function(module)
    given = _leaves(list(type_of(main).inputs), argument_attributes(main))
    results = _leaves(list(type_of(main).results), result_attributes(main))
    return list(replacements({number: given[number] for number in arguments}, results).items())


def _leaves(types: Sequence[ir.Type], marks: Sequence[ir.DictAttr]) -> list[StateLeaf]:
    leaves = zip(types, marks, strict=True)
    return [StateLeaf(text_attribute(one, PATH) or "", type_, piece_of(one)) for type_, one in leaves]


def homes_of(
    module: ir.Module, graph: Graph, users: Mapping[int, Sequence[int]], producers: Mapping[int, int]
) -> list[int]:
    """The island of each argument: the one that makes the result which replaces it, else the first that uses it.

    So a training loop that feeds its state back moves nothing between steps.

    users: the islands that take a value; producers: the island that makes it.
    """
    makes = {argument: producers.get(graph.returned[result]) for argument, result in replaced_arguments(module)}
    homes = []
    for argument in range(graph.arguments):
        islands = users.get(argument, (0,))  # only returned: anywhere
        maker = makes.get(argument)
        homes.append(islands[0] if maker is None else maker)
    return homes
