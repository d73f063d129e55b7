"""Who has the islands that a keeper keeps."""

import numpy
import pytest
from atoll.runtime.keeping.lending import Admit, Dismiss, Lending, Refuse, Renew

pytestmark = pytest.mark.own

SEATS = [(0, 0), (0, 1), (1, 0)]


@pytest.fixture
def lending():
    made = Lending(SEATS)
    assert made.started(SEATS) == []
    return made


def test_one_controller_after_another(lending):
    assert lending.come("first") == [Admit("first")]
    lending.serve(SEATS)
    assert lending.come("second") == [Refuse("second", None)]
    assert lending.go("second") == []
    assert lending.go("first") == [Dismiss(tuple(SEATS))]
    assert lending.come("third") == [], "until all are free"
    assert [lending.free(seat) for seat in SEATS] == [[], [], [Admit("third")]]


def test_of_those_that_wait_one_is_admitted(lending):
    lending.come("first")
    lending.serve([(1, 0)])
    lending.go("first")
    assert [lending.come(name) for name in ("second", "third", "fourth")] == [[], [], []]
    assert lending.go("second") == []
    assert lending.free((1, 0)) == [Admit("third"), Refuse("fourth", None)]


def test_an_island_that_was_lost_is_started_again_when_its_controller_is_gone(lending):
    lending.come("first")
    lending.serve(SEATS)
    assert lending.lose((0, 1)) == []
    assert lending.missing == ((0, 0), (0, 1)), "its other process shares its fate"
    lending.go("first")
    assert lending.free((1, 0)) == []
    assert lending.free((0, 0)) == [Renew(((0, 0), (0, 1)))]
    assert lending.come("second") == []
    assert lending.started([(0, 0), (0, 1)]) == [Admit("second")]


def test_what_ends_while_nobody_needs_it_is_started_when_somebody_does(lending):
    assert lending.lose((1, 0)) == []
    assert lending.come("first") == [Renew(((1, 0),))]
    assert lending.not_started("no memory") == [Refuse("first", "no memory")]
    assert lending.trouble == "no memory"
    assert lending.come("second") == [Renew(((1, 0),))]
    assert lending.started([(1, 0)]) == [Admit("second")]
    assert not lending.trouble


class Model:
    """Carries out what is to be done, and checks that it may be."""

    def __init__(self):
        self.lending = Lending(SEATS)
        self.lending.started(SEATS)
        self.here, self.told, self.starting = set(), set(), ()

    def do(self, actions):
        for action in actions:
            match action:
                case Admit(guest):
                    assert guest in self.here
                    assert not self.lending.serving
                    assert self.lending.there == set(SEATS)
                    self.lending.serve(SEATS)
                    self.told.add(guest)
                case Refuse(guest, _):
                    assert guest != self.lending.guest
                    self.told.add(guest)
                    self.here.discard(guest)
                case Renew(seats):
                    assert not self.starting
                    assert not self.lending.serving
                    self.starting = seats

    def come(self, guest):
        self.here.add(guest)
        self.do(self.lending.come(guest))

    def go(self, guest):
        self.here.discard(guest)
        self.do(self.lending.go(guest))

    def end_starting(self, is_well):
        seats, self.starting = self.starting, ()
        self.do(self.lending.started(seats) if is_well else self.lending.not_started("trouble"))


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
                case 3 if model.lending.serving:
                    model.do(model.lending.free(pick(model.lending.serving)))
                case 4 if model.lending.there:
                    model.do(model.lending.lose(pick(model.lending.there)))
                case 5 if model.starting:
                    model.end_starting(random.integers(2))
        while model.here - model.told or model.lending.serving:
            if model.lending.guest is not None:
                model.go(model.lending.guest)
            for seat in sorted(model.lending.serving):
                model.do(model.lending.free(seat))
            if model.starting:
                model.end_starting(True)
