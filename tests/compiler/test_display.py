"""What is shown on a terminal while atoll works: one line, with a clock and a stream of the test's."""

import io
import sys

import pytest
from atoll.compiler import activity, display
from atoll.compiler.display import Display, above, amount_done

pytestmark = pytest.mark.own

ERASE = "\r\033[K"


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def stream():
    return io.StringIO()


@pytest.fixture
def line(clock, stream):
    """What the line says now."""

    def last():
        return stream.getvalue().rpartition(ERASE)[2]

    return last


@pytest.fixture
def shown(clock, stream):
    made = Display(stream, clock, width=80)
    with activity.heard_by(made):
        yield made


@pytest.mark.parametrize(
    ("seconds", "done", "pieces", "alike", "expected"),
    [
        (3.4, 0, 0, True, "3 s"),
        (75.0, 0, 0, True, "1 min 15 s"),
        (8.0, 0, 4, True, "[....................] 0/4  8 s"),
        (8.0, 1, 4, True, "[#####...............] 1/4  8 s, about 24 s left"),
        (8.0, 1, 4, False, "[#####...............] 1/4  8 s"),
        (60.0, 1, 4, True, "[#####...............] 1/4  1 min 0 s, about 3 min 0 s left"),
        (8.0, 4, 4, True, "[####################] 4/4  8 s"),
    ],
)
def test_it_says_how_much_and_how_long(seconds, done, pieces, alike, expected):
    assert amount_done(seconds, done, pieces, alike=alike) == expected


def test_the_line_follows_what_is_done(shown, clock, line):
    clock.now += 2
    activity.announce("tracing step")
    assert line() == "tracing step  0 s"
    clock.now += 5
    shown.draw()
    assert line() == "tracing step  5 s"
    activity.expect(3, alike=True)
    activity.announce("compiling fragment F0 for island a")
    activity.announce("compiling fragment F1 for island a")
    clock.now += 6
    activity.piece_ended()
    assert line() == "compiling fragment F1 for ...  [######..............] 1/3  6 s, about 12 s left"
    assert len(line()) == 79
    activity.piece_ended()
    activity.piece_ended()
    activity.piece_ended()  # one too many does no harm
    assert "] 3/3  6 s" in line()
    activity.expect(0, alike=True)
    activity.announce("running step 0")
    assert line() == "running step 0  0 s"


def test_what_is_over_in_a_moment_shows_nothing(shown, clock, stream):
    activity.announce("tracing step")
    clock.now += 0.5
    shown.draw()
    shown.erase()
    assert stream.getvalue() == ""


def test_the_line_is_erased_at_last(shown, clock, line, stream):
    clock.now += 2
    activity.announce("tracing step")
    shown.erase()
    assert line() == ""
    written = stream.getvalue()
    shown.erase()
    assert stream.getvalue() == written


def test_a_long_line_is_cut_to_the_terminal(shown, clock, line):
    clock.now += 2
    activity.announce("x" * 200)
    assert line() == "x" * 71 + "...  0 s"


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_what_is_printed_comes_above_the_line(clock, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setattr(sys, "stderr", terminal)
    made = Display(terminal, clock)
    with activity.heard_by(made), above(made):
        clock.now += 2
        activity.announce("tracing step")
        print("from the user's function")
        print("and more", file=sys.stderr)
        made.draw()
    assert terminal.getvalue() == (
        f"{ERASE}tracing step  0 s{ERASE}from the user's function\nand more\n{ERASE}tracing step  0 s"
    )
    assert sys.stdout is terminal
    assert sys.stderr is terminal


def heard(monkeypatch, stream, **environment):
    """What listens within `shown`, where standard error is a stream."""
    monkeypatch.setattr(sys, "stderr", stream)
    for name, value in {"TERM": "xterm", **environment}.items():
        monkeypatch.setenv(name, value)
    with display.shown():
        outer = tuple(activity._listeners)
        with display.shown():  # within another there is no second line
            assert tuple(activity._listeners) == outer
    assert not activity._listeners
    return len(outer)


def test_it_is_for_terminals(monkeypatch):
    assert heard(monkeypatch, Terminal()) == 1
    assert heard(monkeypatch, io.StringIO()) == 0
    assert heard(monkeypatch, Terminal(), TERM="dumb") == 0
    assert heard(monkeypatch, Terminal(), ATOLL_PROGRESS="0") == 0


def test_it_ends_with_an_error_too(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    with pytest.raises(KeyboardInterrupt), display.shown():
        raise KeyboardInterrupt
    assert heard(monkeypatch, Terminal()) == 1
