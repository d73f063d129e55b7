"""Who has the islands that a keeper keeps."""

import numpy
import pytest
from atoll.runtime.keeping.turns import Admit, Part, Refuse, Renew, Turns

pytestmark = pytest.mark.own

SEATS = [(0, 0), (0, 1), (1, 0)]


@pytest.fixture
def turns():
    made = Turns(SEATS)
    assert made.started(SEATS) == []
    return made


def test_one_controller_after_another(turns):
    assert turns.come("first") == [Admit("first")]
    turns.serve(SEATS)
    assert turns.come("second") == [Refuse("second", None)]
    assert turns.go("second") == []
    assert turns.go("first") == [Part(tuple(SEATS))]
    assert turns.come("third") == [], "until all are free"
    assert [turns.free(seat) for seat in SEATS] == [[], [], [Admit("third")]]


def test_of_those_that_wait_one_is_admitted(turns):
    turns.come("first")
    turns.serve([(1, 0)])
    turns.go("first")
    assert [turns.come(name) for name in ("second", "third", "fourth")] == [[], [], []]
    assert turns.go("second") == []
    assert turns.free((1, 0)) == [Admit("third"), Refuse("fourth", None)]


def test_an_island_that_was_lost_is_started_again_when_its_controller_is_gone(turns):
    turns.come("first")
    turns.serve(SEATS)
    assert turns.lose((0, 1)) == []
    assert turns.missing == ((0, 0), (0, 1)), "its other process shares its fate"
    turns.go("first")
    assert turns.free((1, 0)) == []
    assert turns.free((0, 0)) == [Renew(((0, 0), (0, 1)))]
    assert turns.come("second") == []
    assert turns.started([(0, 0), (0, 1)]) == [Admit("second")]


def test_what_ends_while_nobody_needs_it_is_started_when_somebody_does(turns):
    assert turns.lose((1, 0)) == []
    assert turns.come("first") == [Renew(((1, 0),))]
    assert turns.not_started("no memory") == [Refuse("first", "no memory")]
    assert turns.trouble == "no memory"
    assert turns.come("second") == [Renew(((1, 0),))]
    assert turns.started([(1, 0)]) == [Admit("second")]
    assert not turns.trouble


class Model:
    """Carries out what is to be done, and checks that it may be."""

    def __init__(self):
        self.turns = Turns(SEATS)
        self.turns.started(SEATS)
        self.here, self.told, self.starting = set(), set(), ()

    def do(self, actions):
        for action in actions:
            match action:
                case Admit(guest):
                    assert guest in self.here
                    assert not self.turns.serving
                    assert self.turns.there == set(SEATS)
                    self.turns.serve(SEATS)
                    self.told.add(guest)
                case Refuse(guest, _):
                    assert guest != self.turns.guest
                    self.told.add(guest)
                    self.here.discard(guest)
                case Renew(seats):
                    assert not self.starting
                    assert not self.turns.serving
                    self.starting = seats

    def come(self, guest):
        self.here.add(guest)
        self.do(self.turns.come(guest))

    def go(self, guest):
        self.here.discard(guest)
        self.do(self.turns.go(guest))

    def end_starting(self, is_well):
        seats, self.starting = self.starting, ()
        self.do(self.turns.started(seats) if is_well else self.turns.not_started("trouble"))


def test_any_events(request):
    """Never two controllers; none before all is there and free; and whoever comes is told in the end."""
    for seed in range(2000 if request.config.getoption("full") else 200):
        random = numpy.random.default_rng(seed)
        model = Model()
        for number in range(40):
            pick = lambda some: sorted(some)[random.integers(len(some))]  # noqa: B023, E731
            match random.integers(6):
                case 0 | 1:
                    model.come(number)
                case 2 if model.here:
                    model.go(pick(model.here))
                case 3 if model.turns.serving:
                    model.do(model.turns.free(pick(model.turns.serving)))
                case 4 if model.turns.there:
                    model.do(model.turns.lose(pick(model.turns.there)))
                case 5 if model.starting:
                    model.end_starting(random.integers(2))
        while model.here - model.told or model.turns.serving:
            if model.turns.guest is not None:
                model.go(model.turns.guest)
            for seat in sorted(model.turns.serving):
                model.do(model.turns.free(seat))
            if model.starting:
                model.end_starting(True)
