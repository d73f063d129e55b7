"""The named schedules: what they cost with equal costs, against published numbers and formulas."""

from pathlib import Path

import pytest
from atoll.compiler.errors import PlanError
from atoll.compiler.schedules.kinds import SCHEDULE_KINDS, kind_named, schedule
from atoll.compiler.schedules.walk import check
from told import told

from atoll import schedule as front_door

pytestmark = pytest.mark.own

# For 4 islands by 8 microbatches and for 8 by 32: makespan, span, bubble, peak of the worst island.
TABLE = {
    "gpipe": ((33, 33, 0.2727, 8), (117, 117, 0.1795, 32)),
    "1f1b": ((33, 33, 0.2727, 4), (117, 117, 0.1795, 8)),
    "interleaved-1f1b(2)": ((28.5, 28.5, 0.1579, 5.5), (106.5, 106.5, 0.0986, 11.5)),
    "interleaved-1f1b(4)": ((26.25, 26.25, 0.0857, 4.75), (101.25, 101.25, 0.0519, 9.75)),
    "zb-h1": ((27, 27, 0.1111, 4), (103, 103, 0.0680, 8)),
    "zb-h2": ((27, 24, 0.1111, 7), (103, 96, 0.0680, 15)),
    "zb-v": ((25.5, 24, 0.0588, 4), (99.5, 96, 0.0352, 8)),
    "dualpipe-v": ((27, 27, 0.1111, 4.5), (103, 103, 0.0680, 8.5)),
}


@pytest.mark.parametrize(("islands", "microbatches", "column"), [(4, 8, 0), (8, 32, 1)])
@pytest.mark.parametrize("name", TABLE)
def test_the_published_table(name, islands, microbatches, column):
    simulation = front_door(name, islands=islands, microbatches=microbatches).simulate()
    found = simulation.makespan, simulation.span, round(simulation.bubble, 4), max(simulation.peak)
    assert found == TABLE[name][column]
    assert simulation.bubble == (simulation.makespan - 3 * microbatches) / simulation.makespan


def counts_of(islands):
    """Numbers of microbatches: all of the first round and the one after it, and beside each round's end."""
    ends = (2 * islands + 1, 3 * islands - 1, 3 * islands, 3 * islands + 1, 4 * islands - 1, 4 * islands)
    return sorted({*range(islands, 2 * islands + 1), *ends})


SIZES = [(islands, counts_of(islands)) for islands in range(2, 9)]


def simulated(name, islands, microbatches):
    made = schedule(name, islands, microbatches)
    check(made)
    return made.simulate()


@pytest.mark.parametrize(("islands", "counts"), SIZES)
def test_formulas_of_schedules_with_one_chunk(islands, counts):
    for m in counts:
        expected = {
            "gpipe": (3 * m + 3 * (islands - 1), m),
            "1f1b": (3 * m + 3 * (islands - 1), islands),
            "zb-h1": (3 * m + islands - 1, islands),
            "zb-h2": (3 * m + islands - 1, min(m, 2 * islands - 1)),
        }
        for name, (makespan, peak) in expected.items():
            simulation = simulated(name, islands, m)
            assert (simulation.makespan, max(simulation.peak)) == (makespan, peak), (name, m)
            assert simulation.lower_bound == makespan
            if name == "zb-h2" and m >= 2 * islands - 1:
                assert simulation.span == 3 * m


@pytest.mark.one_in(4)
@pytest.mark.parametrize("chunks", [1, 2, 3, 4])
@pytest.mark.parametrize(("islands", "counts"), SIZES)
def test_formulas_of_schedules_that_go_round(islands, counts, chunks):
    hops = islands - 1
    for m in counts:
        largest = -(-m // (m // islands))  # group of microbatches: P where P divides M
        expected = {
            "interleaved-1f1b": (3 * m + 3 * hops / chunks, min(m, (2 * hops + 1 + (chunks - 1) * largest) / chunks)),
            "interleaved-zb": (3 * m + hops / chunks, min(m, (islands + (chunks - 1) * largest) / chunks)),
            "looped-bfs": (3 * m + 3 * hops / chunks, m),
        }
        for name, (makespan, peak) in expected.items():
            simulation = simulated(f"{name}({chunks})", islands, m)
            assert (simulation.makespan, max(simulation.peak)) == (makespan, peak), (name, m)


@pytest.mark.parametrize(("islands", "counts"), SIZES)
def test_formulas_of_schedules_in_a_v(islands, counts):
    for m in counts:
        simulation = simulated("zb-v", islands, m)
        assert (simulation.makespan, max(simulation.peak)) == (3 * m + (islands - 1) / 2, islands)
        assert simulation.lower_bound == simulation.makespan
        if m >= 2 * islands - 1:
            assert simulation.span == 3 * m
            other = schedule("dualpipe-v", islands, m + 1).simulate()
            assert (other.makespan, max(other.peak)) == (3 * (m + 1) + islands - 1, islands + 0.5)
        # Qi et al. 2024, table 1: what they keep, and that they take no longer than 3M + 3P/2 and 3M + 2P.
        half, least = simulated("v-half", islands, m), simulated("v-min", islands, m)
        assert max(half.peak) == min(m, (islands + 2) // 2)
        assert max(least.peak) == min(m, (islands + 4) // 3)
        assert half.makespan <= 3 * m + 1.5 * islands - (3.5 if islands == 4 else 2)
        assert least.makespan <= 3 * m + 2 * islands - 2.5


@pytest.mark.parametrize("name", [*SCHEDULE_KINDS, "interleaved-1f1b(1)", "interleaved-zb(3)", "looped-bfs(5)"])
def test_every_number_of_microbatches_from_the_least(name):
    for islands in (1, 2, 3, 4, 5, 8):
        least = kind_named(name).least_microbatches(islands)
        for m in range(least, least + 2 * islands + 2):
            made = schedule(name, islands, m)
            check(made)
            check(made.forward_only())
            check(made.whole_backward(range(made.stages)))
            simulation = made.simulate()
            assert simulation.makespan >= simulation.lower_bound


def test_kinds_say_what_they_build():
    for kind in SCHEDULE_KINDS.values():
        made = kind.build(4, 8)
        assert made.name == kind.name
        assert kind_named(kind.name.upper()) == kind
        assert (made.islands, made.microbatches, made.chunks) == (4, 8, kind.chunks)
        assert made.stage_island == kind.stage_island(4)
        assert bool(made.split_stages) == kind.splits_backward


def test_the_documents_list_the_kinds():
    text = (Path(__file__).resolve().parents[2] / "docs" / "schedules.md").read_text(encoding="utf-8")
    table = text.partition("| kind | stages go | takes | keeps | |\n")[2].partition("\n\n")[0]
    listed = [line.split("`")[1].partition("(")[0] for line in table.splitlines()[1:]]
    assert sorted(listed) == sorted(SCHEDULE_KINDS)


def test_maps_from_stage_to_island():
    assert kind_named("looped-bfs(3)").stage_island(2) == (0, 1, 0, 1, 0, 1)
    assert kind_named("v-min").stage_island(3) == (0, 1, 2, 2, 1, 0)


def test_chunks_are_written_in_the_name_or_beside_it():
    assert schedule("Interleaved-1F1B( 3 )", 2, 4) == schedule("interleaved-1f1b", 2, 4, chunks=3)
    assert schedule("interleaved-1f1b(3)", 2, 4, chunks=3).chunks == 3
    assert schedule("looped-bfs", 2, 4).chunks == 2
    assert schedule("zb-v", 2, 4, chunks=2) == schedule("zb-v", 2, 4)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("1f1", 2, 4), "unknown schedule '1f1'; did you mean '1f1b'? known are gpipe, 1f1b, "),
        (("", 2, 4), "unknown schedule ''; known are "),
        ((3, 2, 4), "the name of a schedule must be a string, not int"),
        (("gpipe(2)", 2, 4), "schedule gpipe takes no chunks; those that do are interleaved-1f1b, looped-bfs, inter"),
        (("zb-v", 2, 4, 3), "schedule zb-v takes no chunks; those that do are interleaved-1f1b, looped-bfs, inter"),
        (("looped-bfs", 2, 4, 0), "the number of chunks is too small; it must be at least 1"),
        (("looped-bfs(2)", 2, 4, 3), "schedule looped-bfs(2) is asked for with '3' chunks; write the number of chunks"),
        (("1f1b", 0, 4), "the number of islands is too small; it must be at least 1"),
        (("1f1b", 2, 0), "the number of microbatches is too small; it must be at least 1"),
        (("looped-bfs", 2, 4, 10**9), "the number of chunks is too large; it must be at most 4096"),
        (
            ("1f1b", 10**9, 4),
            "schedule 1f1b would run 4 microbatches on 1000000000 stages; take fewer: the product may ",
        ),
        (("gpipe", 2, 10**15), "schedule gpipe would run 1000000000000000 microbatches on 2 stages; take fewer: "),
        (("looped-bfs(1000)", 1001, 1), "schedule looped-bfs(1000) would run 1 microbatch on 1001000 stages; "),
        (("1f1b", 2, 1.5), "the number of microbatches must be a whole number, not float"),
        (
            ("dualpipe-v", 4, 7),
            "schedule dualpipe-v needs at least 8 microbatches on 4 islands, not 7; ask for more microbatches, or for "
            "another schedule",
        ),
    ],
)
def test_what_cannot_be_built(arguments, sentence):
    with pytest.raises(PlanError) as caught:
        schedule(*arguments)
    assert told(caught.value).startswith(sentence)
