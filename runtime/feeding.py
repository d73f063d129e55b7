"""Asks functions of the user's for the examples that an island needs, beside the thread that carries the island."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from typing import Any

import jax
from atoll.compiler.errors import AtollError
from atoll.runtime.examples import Needed, Question, checked, needs_of, part_of, questions
from atoll.runtime.failure import Failure, further_lines, reason
from atoll.runtime.fed import Fed
from atoll.runtime.messages import Offer, argument_tag
from atoll.runtime.program import Program
from atoll.runtime.side_thread import SideThread
from atoll.runtime.site import Call, Site
from atoll.runtime.transport import Transport
from atoll.runtime.waiting import overdue


class Feeding:
    """Of one program on one island. Its examples come as what other islands send does: as an `Offer`, of its own.

    One question after the other, in the order of the steps, and on a thread that is for nothing else: so those of the
    next step are asked while this one is computed.

    number: of the program. post: has the island's thread make a call. arrive: takes what has come; on that thread.
    """

    def __init__(
        self,
        number: int,
        program: Program,
        transport: Transport,
        site: Site,
        post: Callable[[Call], None],
        arrive: Callable[[Offer], None],
    ) -> None:
        self._number = number
        self._program = program
        self._transport = transport
        self._site = site
        self._post = post
        self._arrive = arrive
        self._side = SideThread(f"atoll {site.name}, feeding")
        self._waiting: deque[Question] = deque()
        self._asked: Question | None = None  # the one that is with the other thread

    @cached_property
    def _needs(self) -> Mapping[int, Needed]:
        return needs_of(self._program, self._site.name)

    # On the island's thread.

    def begin(self, step: int, arguments: Mapping[int, Any]) -> None:
        """Have it asked for what a step needs of its arguments."""
        fed = {number: one for number, one in arguments.items() if isinstance(one, Fed)}
        if fed:
            self._waiting += questions(step, fed, self._needs)
            self._ask_next()

    def give_up(self, step: int, patience: float) -> None:
        """Put a failure in place of what has not come for a step."""
        late = [one for one in self._waiting if one.step == step]
        self._waiting = deque(one for one in self._waiting if one.step != step)
        if self._asked is not None and self._asked.step == step:
            late.insert(0, self._asked)
            self._asked, self._side = None, self._side.left_alone()
        for question in late:
            error = overdue(f"{question} has not returned", patience)
            failure = Failure(error.what, question.fed.where, error.remedy)
            self._bring(question, dict.fromkeys(question.buffers, failure))
        self._ask_next()

    def stop(self) -> None:
        """Let the thread end, unless it is where nobody knows when it comes back."""
        if self._asked is None:
            self._side.stop()
        else:
            self._side.left_alone()

    def _ask_next(self) -> None:
        if self._asked is None and self._waiting:
            self._asked = self._waiting.popleft()
            self._side.call(partial(self._beside, self._asked))

    def _come_back(self, told: tuple[Question, dict[int, Any]]) -> None:
        question, values = told
        if question is not self._asked:  # a failure stands in its place already
            return
        self._asked = None
        self._ask_next()
        self._bring(question, values)

    def _bring(self, question: Question, values: dict[int, Any]) -> None:
        name = self._site.name
        for number in tuple(values):  # each is gone from here, or it would live as long as this is on the stack
            offer = Offer(self._number, question.step, name, name, argument_tag(number), values.pop(number))
            self._arrive(offer)

    # On the other thread.

    def _beside(self, question: Question) -> None:
        values: dict[int, Any]
        try:
            values = dict(self._placed(question, self._examples(question)))
        except AtollError as error:
            values = dict.fromkeys(question.buffers, Failure.of(error))
        except Exception as error:
            what = f"{question} returned what cannot be brought to island {self._site.name}: {reason(error)}"
            values = dict.fromkeys(question.buffers, Failure(what, question.fed.where))
        self._post((self._come_back, (question, values)))

    def _examples(self, question: Question) -> list[Any]:
        function = question.fed.function
        try:
            found = function(question.step, question.start, question.stop)
        except BaseException as error:  # also what would end a thread: the island waits for an answer
            what = f"{question} raised {type(error).__name__}: {reason(error)}"
            raise AtollError(what, question.fed.where, excerpt=further_lines(error)) from None
        return checked(question, self._program.inputs, found)

    def _placed(self, question: Question, leaves: Sequence[Any]) -> Iterator[tuple[int, jax.Array]]:
        """What it has returned, as the island holds it."""
        for number, needed in question.buffers.items():
            yield number, self._place(number, leaves[needed.leaf - question.fed.first], needed)

    def _place(self, number: int, leaf: Any, needed: Needed) -> jax.Array:  # noqa: ANN401 (an array)
        # jax takes from the host where to cut, which is no transfer of the user's. And it would make 32 bits of 64
        # where they are not enabled, as a caller can do for its own thread alone.
        with jax.transfer_guard("allow"), jax.enable_x64(True), self._site.turn:
            return self._transport.place(part_of(leaf, needed), self._site.name, number)
