"""What a rule for rows in the order of a sort asks of the interpretation that it is a part of."""

from collections.abc import Mapping
from typing import Any, Protocol

from atoll.compiler.batch_rules.decision import Decision
from atoll.compiler.batch_rules.nodes import Body, Node, NodeTree
from atoll.compiler.batch_rules.states import State


class InterpretedBatch(Protocol):
    """What an interpretation knows throughout the program."""

    @property
    def program(self) -> NodeTree: ...

    @property
    def rules(self) -> Mapping[str, Any]: ...


class Interpreted(Protocol):
    """What is asked of the interpretation of a block."""

    body: Body

    @property
    def batch(self) -> InterpretedBatch: ...

    @property
    def parent(self) -> "Interpreted | None": ...

    @property
    def decisions(self) -> Mapping[int, Decision]: ...

    def state(self, value: int, /) -> State: ...

    def derived(self, node: Node, wanted: Mapping[int, State], /) -> Decision | None: ...
