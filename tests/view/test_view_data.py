"""What the page shows is what the report and the program say."""

import json
from collections import Counter
from itertools import pairwise

import numpy
import pytest
import shown
from atoll.compiler.module.notes import Traffic
from atoll.compiler.report.measurement import Measurement
from atoll.compiler.report.report import Report
from atoll.compiler.topology.topology import Topology
from atoll.compiler.view.dependencies import PlacedTask, dependencies_of
from atoll.compiler.view.history import history
from atoll.compiler.view.packing import Packing, unpacked
from atoll.compiler.view.timelines import measured_timeline
from atoll.compiler.view.view_data import Viewed
from shown import WIDTH, lowered

import atoll

SHOWN = shown.__file__
LAYER = 4 * WIDTH * WIDTH  # bytes


@pytest.fixture(scope="module")
def step():
    return lowered()


@pytest.fixture(scope="module")
def data(step):
    return step.viewed().to_data()


@pytest.fixture(scope="module")
def texts(step):
    return list(history(step.viewed().dumps))


def test_it_is_plain_data(step, data):
    assert json.loads(json.dumps(data))["title"] == "train_step"
    assert data["plan"]["asked"] == str(step.plan)
    assert data["plan"]["resolved"].startswith("stages=2, microbatches=2, schedule=zb-h1, replicas=2")
    assert [(one["name"], one["replica"], one["stages"]) for one in data["islands"]] == [
        ("island0", 0, [0]),
        ("island1", 0, [1]),
        ("island2", 1, [0]),
        ("island3", 1, [1]),
    ]
    assert data["report"] == str(step.report())


def test_the_lines_of_an_island_cost_what_the_report_says_of_it(step, data):
    costs = Counter()
    for line in data["lines"]:
        assert line["cost"] == sum(cost for _, _, cost in line["tasks"])
        for _, island, cost in line["tasks"]:
            costs[island] += cost
    assert costs == {one.name: one.cost for one in step.report().islands[:2]}


def test_the_line_that_costs_most_is_that_of_the_products(data):
    source = data["files"][[one["path"] for one in data["files"]].index(SHOWN)]["text"].splitlines()
    most = max(data["lines"], key=lambda one: one["cost"])
    path, _, number = most["where"].rpartition(":")
    assert path == SHOWN
    assert source[int(number) - 1].endswith("# the products")
    assert {task for task, _, _ in most["tasks"]} >= {"F0", "F1", "B0", "B1"}


def test_transfers_say_what_makes_them_and_who_needs_them(step, data):
    report = step.report()
    [traffic] = [note.fact for note in report.notes if isinstance(note.fact, Traffic)]
    assert sum(one["bytes"] * one["times"] for one in data["transfers"]) == traffic.bytes
    crossing = {(one["task"], one["value"]): one for one in data["transfers"]}
    activations = crossing["F0", "tanh"]
    assert activations["times"] == 2
    assert {(user["task"], user["name"]) for user in activations["users"]} >= {("F1", "dot_general")}
    for one in data["transfers"]:
        assert one["users"]
        assert one["value"]
        assert one["where"].startswith((f"{SHOWN}:", "params", "x", "y"))


def test_memory_is_that_of_the_report(step, data):
    for told, found in zip(step.report().islands, data["memory"], strict=True):
        assert found["peak"] == told.peak_bytes == sum(one["bytes"] * one["count"] for one in found["held"])
        assert dict(found["points"])[found["at"]] == found["peak"] == max(size for _, size in found["points"])
    parameters = [one for one in data["memory"][0]["held"] if one["path"].startswith("params")]
    assert [one["bytes"] * one["count"] for one in parameters] == [LAYER, LAYER]


def test_the_prediction_is_the_reports(step, data):
    [line] = data["timelines"]
    pipeline = step.report().pipeline
    assert (line["name"], line["step"], line["bubble"]) == ("predicted", pipeline.step, pipeline.bubble)
    assert max(bar[4] for bar in line["bars"]) == pytest.approx(1e6 * pipeline.step, rel=1e-3)
    assert {bar[0] for bar in line["bars"]} == set(pipeline.islands)


def test_pauses_end_with_a_task_and_begin_with_the_end_of_one(data):
    [line] = data["timelines"]
    assert line["pauses"]
    for island, start, end, before, cause, why in line["pauses"]:
        assert (line["bars"][before][0], line["bars"][before][3]) == (island, end)
        assert start == 0 or start in [bar[4] for bar in line["bars"] if bar[0] == island]
        if cause is not None:
            assert line["bars"][cause][4] <= end
            assert line["bars"][cause][1] in why


def test_the_first_pause_waits_for_the_stage_before(data):
    [line] = data["timelines"]
    first = next(pause for pause in line["pauses"] if pause[0] == "island1")
    assert line["bars"][first[4]][:2] == ["island0", "F0@0"]
    assert first[5].startswith("F0@1 takes what F0@0 on island0 makes: ")


def test_the_critical_path_leads_from_the_start_to_the_end(data):
    [line] = data["timelines"]
    bars = [line["bars"][number] for number in line["critical"]]
    assert bars[0][4] == max(bar[4] for bar in line["bars"])
    assert bars[-1][3] == 0
    for later, earlier in pairwise(bars):
        assert earlier[4] <= later[3] + 1e-3


def test_tasks_need_those_before_them_on_other_islands(step):
    needs = dependencies_of(step.program)
    assert needs[PlacedTask("island1", "F0@1")][PlacedTask("island0", "F0@0")] == 4 * 4 * WIDTH
    assert PlacedTask("island1", "B0@1") in needs[PlacedTask("island0", "B0@0")]
    assert not any(one.island == "island2" for one in needs[PlacedTask("island0", "F0@0")])


def test_a_measured_pause_has_its_cause(step):
    measured = Measurement.of([("F0@0", "island0", 5.0, 6.0), ("F0@1", "island1", 6.5, 7.0)])
    islands = ["island0", "island1"]
    line = measured_timeline(measured, islands, Topology.parse(shown.TOPOLOGY), dependencies_of(step.program))
    [pause] = line.pauses
    assert (pause.island, pause.start, pause.end, pause.cause) == ("island1", 0.0, 1.5, 0)
    assert line.critical == (1, 0)
    assert line.step == 2.0


def test_what_is_long_on_its_way_is_the_cause_though_it_was_made_before_the_last_task_here(step):
    measured = Measurement.of(
        [
            ("F0@0", "island0", 0.0, 1.0),
            ("F1@0", "island0", 1.0, 5.0),
            ("F0@1", "island1", 1.0, 2.0),
            ("B0@1", "island1", 2.0, 4.0),
            ("B0@0", "island0", 9.0, 10.0),
        ]
    )
    slow = Topology.parse(f"2 x cpu[1]; link island0 <-> island1 : {4 * 4 * WIDTH // 4} B/s, 1 us")
    line = measured_timeline(measured, ["island0", "island1"], slow, dependencies_of(step.program))
    bars = [(bar.task, bar.start) for bar in line.bars]
    assert [bars[one][0] for one in line.critical] == ["B0@0", "B0@1", "F0@1", "F0@0"]
    [pause] = [one for one in line.pauses if one.island == "island0"]
    assert (pause.start, pause.end, bars[pause.cause][0]) == (5.0, 9.0, "B0@1")
    assert pause.why.startswith("B0@0 takes what B0@1 on island1 makes: ")


def test_alternatives_are_simulated_like_the_schedule_that_is_chosen(step, data):
    rows = {one["name"]: one for one in data["alternatives"]}
    assert {"zb-h1", "gpipe", "1f1b"} <= set(rows)
    assert [one["name"] for one in data["alternatives"] if one["chosen"]] == ["zb-h1"]
    assert rows["zb-h1"]["step"] == step.report().pipeline.step


def test_history_passes_through_every_phase(step, texts):
    last = {one.phase: one.text for one in texts}
    assert last == {phase: step.ir(phase) for phase in step.phases[:-1]}
    assert texts[0].name == "input"
    assert all(len(one.places) == len(one.text.splitlines()) for one in texts)


def test_lines_of_ir_know_the_users_lines(texts):
    made = next(one for one in texts if one.name == "make-fragments")
    products = [place for line, place in zip(made.text.splitlines(), made.places, strict=True) if "dot_general" in line]
    assert len(products) > 4
    assert len(set(products)) == 1
    assert products[0].startswith(f"{SHOWN}:")


def test_a_large_constant_is_not_written_out_after_every_pass():
    numbers = numpy.arange(2000, dtype="float32")
    lowered = atoll.lower(lambda x: (x + numbers, x + numbers[:3]), numpy.float32(1), topology="1 x cpu[1]")
    texts = list(history(lowered.viewed().dumps))
    assert max(len(one.text) for one in texts) < 5000
    assert all("[0.000000e+00, 1.000000e+00, 2.000000e+00]" in one.text for one in texts)
    assert any(place.startswith(f"{__file__}:") for place in texts[-1].places)


def test_texts_are_packed_and_unpacked(texts):
    packed = json.loads(json.dumps(Packing().pack(texts)))
    assert unpacked(packed) == [(one.text, one.places) for one in texts]
    assert len(json.dumps(packed)) * 8 < sum(len(one.text) for one in texts)


def test_a_saved_program_is_shown_without_its_ir(step):
    saved = Viewed("step.atoll", step.program, {}, Report.from_json(step.program.report))
    data = saved.to_data()
    assert (data["lines"], data["files"]) == ([], [])
    assert [one["bytes"] for one in data["transfers"]] == [one.bytes for one in step.report().transfers]
    assert saved.ir_data()["passes"] == []


def test_islands_are_those_of_the_topology(step, data):
    topology = Topology.parse(data["topology"])
    assert [(one["kind"], one["devices"]) for one in data["islands"]] == [
        (island.kind, island.size) for island in topology.islands
    ]
    assert [path for path, _ in data["islands"][0]["arguments"] if path.startswith("params")] == [
        "params[0]",
        "params[1]",
    ]


def test_notebooks_show_texts_and_pictures(step):
    shown_of = {
        type(one).__name__: one._repr_html_() for one in (step.topology, step.plan, step.report(), step.schedule)
    }
    assert shown_of["Topology"] == "<pre>4 x cpu[1]</pre>"
    assert shown_of["Plan"].startswith("<pre>stages=2, ")
    assert shown_of["Schedule"].startswith("<svg ")
    assert shown_of["Report"].startswith("<svg ")
    assert "island0 -&gt; island1" in shown_of["Report"]
