"""The executions of an island that are under way: which of them is watched, and what becomes of it."""

import queue
import threading
import weakref

import pytest
from atoll.runtime.fragment import Executable
from atoll.runtime.inbox import Inbox
from atoll.runtime.pace import Pace
from atoll.runtime.program import Run
from atoll.runtime.program_memory import Bytes
from atoll.runtime.ready_task import ReadyTask, count_covered
from atoll.runtime.record import Record
from atoll.runtime.window import Window
from random_events import pytest_generate_tests, under_random_events  # noqa: F401 (a hook)

pytestmark = pytest.mark.own


class Token:
    """Like an array that a device computes until the test ends it, by an error if one is given."""

    def __init__(self, watched):
        self.ended = threading.Event()
        self._watched = watched  # where it tells that it is
        self.error = None
        self.is_donated = False

    def end(self, error=None):
        self.error = error
        self.ended.set()

    def is_ready(self):
        return self.ended.is_set()

    def is_deleted(self):
        return self.is_donated

    def block_until_ready(self):
        if self.is_donated:
            raise RuntimeError("Array has been deleted")
        if not self.is_ready():
            self._watched.put(self)
        self.ended.wait(60)
        if self.error is not None:
            raise self.error


def task(index, covers=0, *, may_fail=True):
    return ReadyTask(index, Executable(list, may_fail=may_fail), Run(f"F{index}", 0, (), ()), Bytes(), 0, (), covers)


class Watching:
    """A window of eight, which calls what is posted as its host does, and the tokens of its executions."""

    def __init__(self):
        self.over, self.posted, self.tokens = [], Inbox(), []
        self._looked_at = queue.Queue()
        self.window = Window(8, lambda record: self.over.append(record.step), "watching", self.posted.put)

    def add(self, *steps):
        """A step for each, of so many executions, all of which are enqueued."""
        for count in steps:
            record = Record(0, len(self.over) + len(self.tokens), "a", is_enqueued=True)
            for index in range(count):
                self.add_one(record, task(index))

    def add_one(self, record, task):
        self.tokens.append(Token(self._looked_at))
        self.window.pending.append((record, task, self.tokens[-1]))

    def add_chain(self, count=8):
        """A step of so many tasks, each of which needs the one before; its record."""
        record = Record(0, 7, "a", is_enqueued=True)
        for index in range(count):
            self.add_one(record, task(index, covers=index, may_fail=False))
        return record

    def watched(self):
        """The number of the execution that is watched."""
        self.window.watch()
        return self.tokens.index(self._looked_at.get(timeout=60))

    def look(self):
        """Wait for what is posted, and do what the host does then."""
        call, argument = self.posted.get(60)
        call(argument)
        self.window.retire_ready()


@pytest.fixture
def watching():
    made = Watching()
    yield made
    for token in made.tokens:
        token.end()
    made.window.stop()


@pytest.mark.parametrize(
    ("steps", "watched"),
    [
        ((1,), 0),
        ((4,), 3),  # the end of a step
        ((1, 1), 0),  # that of the first, so that the next can begin before the device is idle
        ((2, 3, 2), 4),
        ((1,) * 7, 3),
    ],
)
def test_the_end_of_a_step_is_watched_or_of_several_the_one_in_the_middle(watching, steps, watched):
    watching.add(*steps)
    assert watching.watched() == watched


def test_of_a_full_window_half_is_watched(watching):
    watching.add(8)
    assert not watching.window.has_room()
    assert watching.watched() == 3
    for token in watching.tokens[:4]:
        token.end()
    watching.look()
    assert len(watching.window) == 4
    assert watching.window.has_room()


def test_who_comes_back_looks_again_at_what_was_soon_over(watching):
    """Others have it watched, and so has anyone who waits for the end of a step."""
    window = watching.window
    window._pace = Pace(lambda: 7.0)
    watching.add(8)
    assert not window.has_room()
    for token in watching.tokens[:4]:
        token.end()
    window.retire_ready()
    assert window.has_room()
    assert window.watch(comes_back=True) is None
    assert watching.tokens.index(watching._looked_at.get(timeout=60)) == 7
    for token in watching.tokens[4:]:
        token.end()
    watching.look()
    watching.add(8)
    assert not window.has_room()
    assert window.watch(comes_back=True) > 0
    assert watching.watched() == 11


def test_with_what_was_watched_all_that_it_covers_has_ended(watching):
    """Nobody asks, and so nobody asks the one of which it does not tell, and watches in vain."""
    record = watching.add_chain()
    assert not watching.window.has_room()
    assert watching.watched() == 3
    for token in watching.tokens[:4]:
        token.end()
    call, argument = watching.posted.get(60)
    watching.window.retire_ready()  # as the host does before each call
    call(argument)
    assert record.order == [0, 1, 2, 3]
    assert watching.window.has_room()


def test_of_those_that_end_in_any_order_one_that_has_not_is_watched(watching):
    watching.add(8)
    assert not watching.window.has_room()
    assert watching.watched() == 3
    for ended, next_watched in (([3, 0], 1), ([1, 2], None)):
        for number in ended:
            watching.tokens[number].end()
        watching.look()
        assert watching.window.has_room() == (next_watched is None)
        if next_watched is not None:
            assert watching.watched() == next_watched


def test_one_that_is_watched_is_gone_before_anyone_is_told(watching):
    """What it keeps of memory as well."""
    watching.add(1)
    assert watching.watched() == 0
    token = watching.tokens.pop()
    gone = weakref.ref(token)
    token.end()
    watching.window.retire_ready()  # the thread may have the token still
    assert watching.over == []
    del token
    watching.window._tell = lambda record: watching.over.append(gone())
    watching.look()
    assert watching.over == [None]


def test_a_token_that_fails_has_ended(watching):
    watching.add(1)
    assert watching.watched() == 0
    (record, *_) = watching.window.pending[0]
    watching.tokens[0].end(ValueError("no memory"))
    watching.look()
    assert record.errors == {0: "no memory"}
    assert watching.over


def test_of_a_token_that_is_donated_a_later_one_tells(watching):
    """Or steps that donate all would be told of as soon as the next one is asked for, and never wait for devices."""
    watching.add(1, 1, 1)
    watching.tokens[0].is_donated = watching.tokens[1].is_donated = True
    watching.window.retire_ready()
    assert watching.over == []
    assert watching.watched() == 2
    watching.tokens[2].end()
    watching.look()
    assert len(watching.over) == 3


def test_a_token_that_is_donated_while_it_is_watched_is_let_go_of(watching):
    watching.add(1)
    assert watching.watched() == 0
    watching.add(1)
    watching.tokens[0].is_donated = True
    watching.tokens[0].end(RuntimeError("Array has been deleted"))
    watching.look()
    assert watching.over == []
    watching.tokens[1].end()
    watching.window.retire_ready()
    assert len(watching.over) == 2


def test_a_token_that_is_donated_while_it_is_asked_is_asked_no_more(watching, monkeypatch):
    """Another thread enqueues what calls Python, and donates between two questions."""
    watching.add(1)
    first = watching.tokens[0]

    def is_ready():
        first.is_donated = True
        raise RuntimeError("Array has been deleted")

    monkeypatch.setattr(first, "is_ready", is_ready)
    watching.window.retire_ready()
    assert watching.over == []
    watching.add(1)
    watching.tokens[1].end()
    watching.window.retire_ready()
    assert len(watching.over) == 2


def test_nothing_is_left_to_tell_of_a_last_token_that_is_gone(watching):
    watching.add(1)
    watching.tokens[0].is_donated = True
    watching.window.retire_ready()
    assert watching.over


def test_a_watch_that_never_ends_is_left_alone(watching):
    """Whoever gives it up goes on with another thread; and is not confused if it does end."""
    before = set(threading.enumerate())
    watching.add(1)
    assert watching.watched() == 0
    (stuck,) = set(threading.enumerate()) - before
    watching.window.give_up("it takes too long")
    assert len(watching.over) == 1
    watching.add(1)
    assert watching.watched() == 1
    watching.tokens[0].end()
    call, argument = watching.posted.get(60)
    call(argument)
    watching.tokens[1].end()
    watching.window.retire_ready()
    assert len(watching.over) == 1, "the thread that watches it has not let go of it"
    watching.look()
    assert len(watching.over) == 2
    stuck.join(60)
    assert not stuck.is_alive()


def run(index, *inputs):
    """A task that makes the buffer with its number."""
    return Run(f"F{index}", 0, inputs, (index,))


def test_a_task_covers_those_right_before_it_that_it_needs():
    chain = [run(0), run(1, 0), run(2, 1), run(3, 1, 2)]
    assert count_covered(chain) == [0, 1, 2, 3]
    # What comes of others is needed too; what comes from elsewhere, as buffer 9 does, tells of no task here.
    assert count_covered([run(0, 9), run(1, 9), run(2, 0), run(3, 1, 2)]) == [0, 0, 0, 3]
    # Two independent lines by turns: the last one ends the second of them, and the one before it need not have ended.
    assert count_covered([run(0), run(1), run(2, 0), run(3, 1)]) == [0, 0, 0, 0]
    assert count_covered([run(0), *(run(index, index - 1) for index in range(1, 100))])[-1] == 32


def test_one_execution_is_asked_for_all_that_it_covers(watching):
    """So the others need not even be there: of half the window at once, and of one step."""
    record = watching.add_chain()
    watching.tokens[3].end()  # the last of the first half
    for token in watching.tokens[:3]:
        token.is_ready = None  # which nobody calls, or the test would fail
    watching.window.retire_ready()
    assert (record.order, watching.over) == ([0, 1, 2, 3], [])
    for token in watching.tokens[4:]:
        token.end()
    watching.window.retire_ready()
    assert (record.order, watching.over) == ([*range(8)], [7])


def test_who_waits_for_room_is_told_how_much_there_is(watching):
    """From which it follows how long to sleep the next time."""
    record = watching.add_chain()
    assert not watching.window.has_room()
    for token in watching.tokens[:6]:
        token.end()
    watching.window.retire_ready()
    assert record.order == [0, 1, 2, 3, 4, 5]
    assert watching.window.has_room()


def test_what_is_watched_stays_with_what_came_after_it(watching):
    """Though one that covers it has ended: the thread beside may still have its token."""
    record = watching.add_chain(3)
    assert watching.watched() == 2
    for token in watching.tokens[:2]:
        token.end()
    watching.window.retire_ready()
    assert record.order == [0, 1]
    watching.tokens[2].end()
    watching.look()
    assert watching.over == [7]


def test_whatever_ends_first_the_window_tells_of_ends_alone(few_sequences):
    """Tasks that need any of those before them, and end in any order that this allows."""

    def check(choices):
        runs = [run(index, *choices.choices(range(index), k=choices.randrange(3) * (index > 0))) for index in range(30)]
        record, over = Record(0, 0, "a"), []
        window, tokens = Window(8, over.append, "watching", None), []
        for covers in count_covered(runs):
            while not window.has_room():
                assert len(window) > 4
                end_one(choices, runs, tokens)
                window.retire_ready()
                assert record.order == [*range(len(record.order))]
                assert all(tokens[index].is_ready() for index in record.order)
            window.pending.append((record, task(len(tokens), covers, may_fail=False), Token(None)))
            tokens.append(window.pending[-1][2])
            if choices.random() < 0.3:
                end_one(choices, runs, tokens)
        record.is_enqueued = True
        while not over:
            end_one(choices, runs, tokens)
            window.retire_ready()
        assert record.order == [*range(30)]
        assert all(token.is_ready() for token in tokens)

    under_random_events(check, few_sequences)


def end_one(choices, runs, tokens):
    """One of the tasks that have all they need, if one is left."""
    able = [
        index
        for index, token in enumerate(tokens)
        if not token.is_ready() and all(tokens[number].is_ready() for number in runs[index].inputs)
    ]
    if able:
        tokens[choices.choice(able)].end()
