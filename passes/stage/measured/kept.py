"""What a microbatch keeps from its forward tasks to their backward, before anybody has cut them apart."""

from collections.abc import Sequence
from dataclasses import dataclass

from atoll.compiler.module.graph import ARGUMENT, Graph
from atoll.passes.stage.operations.cheap_operations import copied, may_be_copied, sent_operands


@dataclass(frozen=True)
class KeptValue:
    """A value, the forward operation that makes it, and the operations that take it on the way back."""

    value: int
    maker: int
    takers: tuple[int, ...]


def values_kept(graph: Graph, forward: Sequence[int], is_behind: Sequence[bool]) -> list[KeptValue]:
    """What is kept of the forward operations; is_behind: which operations are on the way back.

    What `keep-less` is going to move there is taken for moved if it takes no more bytes than it makes, as that pass
    needs stages to decide.
    """
    is_copied = copied(graph)
    sources = sent_operands(graph)
    users: list[list[int]] = [[] for _ in graph.values]
    for index, taken in enumerate(sources):
        for value in taken:
            users[value].append(index)
    is_later = list(is_behind)

    def is_taken_later(value: int) -> bool:
        return any(is_later[user] for user in users[value])

    for index in reversed(forward):
        taking = [user for value in graph.results[index] for user in users[value]]
        if taking and may_be_copied(graph.operations[index]) and all(is_later[user] for user in taking):
            more = [one for one in sources[index] if graph.producer[one] != ARGUMENT and not is_taken_later(one)]
            made = sum(graph.sizes[value] for value in graph.results[index])
            is_later[index] = sum(graph.sizes[one] for one in more) <= made
    return [
        KeptValue(value, index, tuple(user for user in users[value] if is_later[user]))
        for index in forward
        if not is_later[index] and not is_copied[index]
        for value in graph.results[index]
        if is_taken_later(value)
    ]
