"""Pictures of schedules: tables as text, charts as SVG."""

from xml.etree import ElementTree

import pytest
from atoll.compiler.schedules.kinds import SCHEDULE_KINDS, schedule
from atoll.compiler.schedules.picture import Bar, Panel, gantt_svg, schedule_panel
from hypothesis import given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.own

SVG = "{http://www.w3.org/2000/svg}"


def test_a_table():
    rows = ["island 0: F0 F1 .  .  B0 B0 .  B1 B1", "island 1: .  F0 B0 B0 F1 B1 B1 .  ."]
    assert schedule("1f1b", 2, 2).table() == "\n".join(rows)


@pytest.mark.parametrize("name", SCHEDULE_KINDS)
def test_a_table_has_a_row_an_island_and_a_column_a_tick(name):
    made = schedule(name, 3, 6)
    rows = [line.partition(": ")[2].split() for line in made.table().splitlines()]
    ticks = made.simulate().makespan * made.chunks
    assert len(rows) == 3
    assert {len(row) for row in rows} == {ticks}
    for row, tasks in zip(rows, made.rows, strict=True):
        shown = [cell for at, cell in enumerate(row) if cell != "." and cell not in row[:at]]
        assert sorted(shown) == sorted(made.label(task, made.stage_island[task.stage]) for task in tasks)


def parsed(text):
    root = ElementTree.fromstring(text)
    assert root.tag == f"{SVG}svg"
    return root


def bars_of(root):
    """Title, left edge, width and label of each bar."""
    for group in root.iter(f"{SVG}g"):
        box, label = group.find(f"{SVG}rect"), group.find(f"{SVG}text")
        left, width = float(box.get("x")), float(box.get("width"))
        yield group.find(f"{SVG}title").text, left, width, label.text if label is not None else ""


@pytest.mark.parametrize("name", ["1f1b", "zb-v", "dualpipe-v", "interleaved-1f1b(4)"])
def test_a_picture_of_four_islands_by_32_microbatches(name):
    made = schedule(name, 4, 32)
    root = parsed(made.svg())
    bars = list(bars_of(root))
    assert len(bars) == sum(map(len, made.rows))
    # Every number is there, in a bar that holds it, and inside of the picture.
    for title, left, width, label in bars:
        assert f"microbatch {label}," in title
        assert width >= 6 * len(label)
        assert 0 <= left <= left + width <= float(root.get("width"))
    assert sum(title.startswith("forward of microbatch 31, stage 0, island 0") for title, *_ in bars) == 1
    assert made.svg() == made.svg()


def size_of(root):
    return float(root.get("width")), float(root.get("height"))


@pytest.mark.parametrize(("islands", "microbatches"), [(1, 1), (2, 2), (2, 64), (4, 512), (64, 128)])
def test_a_picture_fits_the_page(islands, microbatches):
    width, height = size_of(parsed(schedule("1f1b", islands, microbatches).svg()))
    assert 480 <= width <= 1200
    assert width / height <= 4.001
    assert height <= max(1800, 60 * islands)


def test_a_long_picture_goes_on_below():
    made = schedule("1f1b", 2, 64)
    root = parsed(made.svg())
    titles = [words.text for words in root.iter(f"{SVG}text") if (words.text or "").startswith("island 1")]
    assert len(titles) > 2
    # A bar whose band ends before it goes on as well, under one title.
    assert len(list(bars_of(root))) == sum(map(len, made.rows))
    tops = {box.get("y") for group in root.iter(f"{SVG}g") for box in group.iter(f"{SVG}rect")}
    assert len(tops) == 2 * len(titles)


def test_a_legend_that_is_too_long_goes_on_below():
    made = schedule("interleaved-zb(3)", 2, 2)
    root = parsed(made.svg())
    width, height = size_of(root)
    for words in root.iter(f"{SVG}text"):
        if words.text and ", chunk" in words.text:
            assert float(words.get("x")) + 5 * len(words.text) <= width
            assert float(words.get("y")) <= height


def test_chunks_have_shades_and_kinds_have_colours():
    text = schedule("zb-v", 2, 4).svg()
    fills = {box.get("fill") for group in parsed(text).iter(f"{SVG}g") for box in group.iter(f"{SVG}rect")}
    assert len(fills) == 6
    for words in ("forward, chunk 0", "backward, chunk 1", "weight gradient, chunk 1", "schedule zb-v", "island 1"):
        assert f">{words}<" in text


def test_a_whole_backward_says_so():
    text = schedule("zb-h1", 2, 2).whole_backward({1}).svg()
    assert "<title>whole backward of microbatch 0, stage 1, island 1: " in text
    assert "<title>backward of microbatch 0, stage 0, island 0: " in text


def test_panels_share_an_axis():
    made = schedule("1f1b", 2, 2)
    predicted = schedule_panel(made, made.simulate(update=3), "predicted")
    measured = Panel("measured", predicted.rows, [Bar(0, "F", "0", 0, 20, "F0"), Bar(1, "?", "x", 5, 6, "y")])
    text = gantt_svg([predicted, measured], "ms")
    root = parsed(text)
    assert {"predicted", "measured", "ms", "update", "other"} <= {words.text for words in root.iter(f"{SVG}text")}
    widths = {title: width for title, _, width, _ in bars_of(root)}
    assert widths["F0"] == max(widths.values())
    assert widths["F0"] / widths["update, island 0: 9 to 12"] == pytest.approx(20 / 3, rel=0.02)


texts = st.text(max_size=8)
times = st.floats(0, 1e6, allow_nan=False)
any_bars = st.builds(
    lambda row, kind, label, start, length, title, chunk: Bar(row, kind, label, start, start + length, title, chunk),
    st.integers(0, 3),
    st.sampled_from("FBWUX"),
    texts,
    times,
    times,
    texts,
    st.integers(0, 3),
)


@given(st.lists(any_bars, max_size=6), texts, texts)
@settings(max_examples=100, deadline=None)
def test_any_chart_is_valid_xml(bars, title, unit):
    parsed(gantt_svg([Panel(title, [title] * 4, bars), Panel("", [], [])], unit))
