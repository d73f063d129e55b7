"""The file of the page: what is in it, and what a real browser makes of it."""

import base64
import hashlib
import json
import re
import zlib
from dataclasses import replace
from pathlib import Path

import browser
import pictures
import pytest
import shown
from atoll.compiler.commands.cli import run_here
from atoll.compiler.report.measurement import Measurement
from atoll.compiler.view.history import history
from atoll.compiler.view.model_explorer import graphs_of
from atoll.compiler.view.page import page, write_page
from atoll.compiler.view.view_data import Viewed
from atoll.runtime.program import Run

ROOT = Path(__file__).resolve().parent.parent.parent
BUILT = ROOT / "compiler" / "view"

TARGET = f"{Path(shown.__file__).with_name('shown_job.py')}:job"
PALM = str(ROOT / "examples" / "palm" / "large.py")


@pytest.fixture(scope="module")
def lowered():
    return shown.lowered()


def sources_digest():
    """What `bundle.js` writes into the first line of what it makes."""
    names = ["bundle.js", "package-lock.json", "package.json"]
    names += sorted(f"src/{file.name}" for file in (ROOT / "view" / "src").iterdir())
    digest = hashlib.sha256()
    for name in names:
        digest.update(name.encode() + b"\0" + (ROOT / "view" / name).read_bytes() + b"\0")
    return digest.hexdigest()


@pytest.mark.own
@pytest.mark.parametrize("name", ["view.js", "view.css"])
def test_the_bundle_is_made_of_what_is_there(name):
    head = (BUILT / name).read_text().splitlines()[0]
    assert f"sha256 {sources_digest()} " in head, "run `make bundle`, and commit what it makes"


@pytest.mark.own
def test_versions_of_libraries_are_exact():
    package = json.loads((ROOT / "view" / "package.json").read_text())
    for version in (package["dependencies"] | package["devDependencies"]).values():
        assert re.fullmatch(r"\d+\.\d+\.\d+", version)


def test_the_page_holds_the_data_and_nothing_of_it_is_markup(lowered):
    viewed = lowered.viewed("</script><script>alert(1)</script>")
    text = page(viewed)
    assert "alert(1)" not in re.sub(r"<title>.*?</title>", "", text).replace("&lt;script&gt;alert(1)", "")
    assert "<script>alert" not in text
    packed = re.search(r'id="atoll-data">([^<]*)<', text)[1]
    assert json.loads(zlib.decompress(base64.b64decode(packed))) == json.loads(json.dumps(viewed.to_data()))
    ir = json.loads(re.search(r'id="atoll-ir">([^<]*)<', text)[1])
    assert len(ir["passes"]) == len(list(history(viewed.dumps)))


def test_graphs_for_model_explorer_hang_together(lowered):
    phase = "placed"
    graphs = list(graphs_of(phase, lowered.viewed().dumps[phase]))
    assert {graph["id"] for graph in graphs} == {"placed/main", "placed/microbatch"}
    for graph in graphs:
        numbers = [node["id"] for node in graph["nodes"]]
        assert len(set(numbers)) == len(numbers)
        edges = [edge["sourceNodeId"] for node in graph["nodes"] for edge in node.get("incomingEdges", ())]
        assert edges
        assert set(edges) <= set(numbers)
    loop = next(graph for graph in graphs if graph["id"] == "placed/microbatch")
    product = next(node for node in loop["nodes"] if node["label"] == "stablehlo.dot_general")
    assert product["namespace"].startswith("mpmd.fragment ")
    assert {"key": "where", "value": f"{shown.__file__}:{line_of('# the products')}"} in product["attrs"]


def line_of(text):
    lines = Path(shown.__file__).read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if line.endswith(text))


# The command.


def test_the_command_writes_a_page(tmp_path, capsys):
    file = tmp_path / "page.html"
    assert run_here(["view", TARGET, "--topology", "2 x cpu[1]", "-o", str(file)]) == 0
    assert capsys.readouterr().out == f"{file}\n"
    assert file.read_text().startswith("<!doctype html>")


def test_a_module_and_a_saved_program_are_targets_too(lowered, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "placed.mlir").write_text(lowered.ir("placed", debug_info=True))
    lowered.save(tmp_path / "step.atoll")
    assert run_here(["view", "placed.mlir"]) == 0
    assert run_here(["view", "step.atoll", "-o", "saved.html"]) == 0
    assert run_here(["view", "placed.mlir", "--format", "model-explorer"]) == 0
    assert capsys.readouterr().out == "view.html\nsaved.html\nview.json\n"
    [collection] = json.loads(Path("view.json").read_text())
    assert collection["label"] == "placed.mlir"
    assert {graph["id"].partition("/")[0] for graph in collection["graphs"]} == {"placed", "scheduled"}
    monkeypatch.setattr("webbrowser.open", lambda _: False)
    assert run_here(["view", "placed.mlir", "--open"]) == 1
    assert "view.html: no browser is found here; open the file in one" in capsys.readouterr().err
    assert run_here(["view", "placed.mlir", "--plan", "stages=2"]) == 1
    assert "--plan: the module is at phase placed, cut by the plan that it has" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ([TARGET], 'no topology is given; name the islands: --topology "2 x cpu[1]"'),
        (["a.atoll", "--plan", "stages=2"], "a.atoll: a saved program has its topology and its plan; leave them out"),
        (["a.mlir", "--open", "--format", "model-explorer"], "--open shows a page, and --format asks for none"),
        ([TARGET, "--topology", "2 x cpu[1]", "-o", "/nowhere/a.html"], "cannot write /nowhere/a.html: No such file"),
    ],
)
def test_what_is_refused(arguments, error, capsys):
    assert run_here(["view", *arguments]) == 1
    assert error in capsys.readouterr().err


def test_a_saved_program_has_no_graphs(lowered, tmp_path, capsys):
    lowered.save(tmp_path / "step.atoll")
    assert run_here(["view", str(tmp_path / "step.atoll"), "--format", "model-explorer"]) == 1
    assert "a saved program has no IR to make graphs of" in capsys.readouterr().err


# In a browser.

needs_browser = pytest.mark.skipif(
    browser.found() is None, reason=f"no browser is here: none of {', '.join(browser.NAMES)} is on PATH"
)


@pytest.fixture(scope="module")
def opened():
    with browser.Browser() as page:
        yield page


@pytest.fixture(scope="module")
def written(lowered, tmp_path_factory):
    """The page of a program that has run, with its data; what was measured is made up."""
    tasks, now = [], 0.0
    for island in lowered.program.islands:
        for one in island.instructions:
            if isinstance(one, Run):
                tasks.append((one.task, island.name, now, now + 1e-3))
                now += 2e-3
    viewed = replace(lowered.viewed(), report=replace(lowered.report(), measured=Measurement.of(tasks)))
    file = tmp_path_factory.mktemp("page") / "step.html"
    write_page(viewed, file)
    return file, viewed.to_data()


@needs_browser
def test_every_panel_shows_what_the_data_says(opened, written):
    file, data = written
    assert opened.open(file) < 10
    assert "step, predicted" in opened.text(".figures")
    assert "step, measured" in opened.text(".figures")
    _see_overview(opened, data)
    _see_schedule(opened)
    _see_memory(opened, data)
    _see_source(opened)
    _see_ir(opened)
    opened.click("#tab-plan")
    assert opened.evaluate("document.querySelector('#report-text').textContent") == data["report"]
    assert "zb-h1 (this one)" in opened.text("#panel-plan")
    _see_keys(opened)
    assert opened.problems == []
    assert set(opened.requests) == {file.as_uri()}


def _see_overview(page, data):
    assert page.evaluate("document.querySelectorAll('.map .island').length") == len(data["islands"])
    assert page.evaluate("document.querySelectorAll('.map .arrow').length") == len(data["links"])
    page.evaluate("document.querySelector('.map .island').dispatchEvent(new MouseEvent('click'))")
    assert "params[0]" in page.text("#map-details")
    arrow = "document.querySelector('.map .arrow[aria-label^=\"island0 to island1\"]')"
    page.evaluate(f"{arrow}.dispatchEvent(new MouseEvent('click'))")
    assert "F0 shown.py:" in page.text("#map-details")
    assert "F1: dot_general" in page.text("#map-details")


def _see_schedule(page):
    page.click("#tab-schedule")
    assert "takes what F0@0 on island0 makes" in page.text(".pauses")
    page.evaluate("document.querySelector('#panel-schedule canvas').focus()")
    page.key("ArrowRight")
    assert page.text("#panel-schedule .details").startswith("F0@0 on island0")
    assert "measured" in page.text("#panel-schedule .details")
    page.click(".pauses button")
    assert "before it" in page.text("#panel-schedule .details")
    pixels = "document.querySelector('#panel-schedule canvas').getContext('2d').getImageData(140, 26, 900, 60).data"
    assert page.evaluate(f"new Set({pixels}).size") > 8  # it is drawn


def _see_memory(page, data):
    page.click("#tab-memory")
    assert page.evaluate("document.querySelectorAll('.memory svg').length") == len(data["memory"])
    assert "params[0]" in page.text("#memory-island0")


def _see_source(page):
    page.click("#tab-source")
    page.press("#source-details button", f"shown.py:{line_of('# the products')}")
    assert "of all" in page.text("#source-details")
    assert "# the products" in page.text("#source-text .marked")
    assert page.evaluate("document.querySelectorAll('#source-text .beside-line').length") > 2
    page.press("#source-details button", "in the IR")
    # The lines that are in view are drawn a while after it has moved to the first of those that are marked.
    page.until("[...document.querySelectorAll('#ir-text .marked')].some(one => one.innerText.includes('.dot_general'))")


def _see_ir(page):
    page.press(".passes [role=option]", "fold-batch")
    page.press(".ir .tools button", "changes")
    page.until("document.querySelectorAll('#ir-text .come').length > 0")
    assert " new, " in page.text(".ir .status")
    page.press(".ir .tools button", "text")
    page.press(".passes [role=option]", "make-fragments")
    page.until("document.querySelector('#ir-text [aria-label=\"IR after make-fragments\"]') !== null")
    page.press(".ir .tools button", "fold fragments")
    assert page.evaluate("document.querySelectorAll('#ir-text .cm-foldPlaceholder').length") > 2
    query = "document.querySelector('.search-all input')"
    page.evaluate(f"{query}.value = 'tanh'; {query}.dispatchEvent(new KeyboardEvent('keydown', {{key: 'Enter'}}))")
    page.until("document.querySelector('.search-all output').innerText.startsWith('in ')")


def _see_keys(page):
    page.evaluate("document.activeElement.blur()")
    page.key("3", "3")
    assert page.evaluate("document.querySelector('#panel-memory').hidden") is False
    before = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    page.key("t", "t")
    assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") != before
    page.key("?", "?")
    assert page.evaluate("document.querySelector('dialog').open")


# What has the focus: what it is called, whether it is seen, and whether one sees that it has it.
FOCUS = """(() => {
  const here = document.activeElement, frame = here.getBoundingClientRect(), shape = here.querySelector(".box, .line");
  const marked = [here, here.closest(".cm-editor"), shape].filter(Boolean).map((one) => getComputedStyle(one));
  const accent = getComputedStyle(document.documentElement).getPropertyValue("--accent").trim();
  const probe = document.createElement("i"); probe.style.color = accent; document.body.append(probe);
  const colour = getComputedStyle(probe).color; probe.remove();
  return {
    over: here === document.body || here.closest("header, nav") !== null,
    kind: here.className.baseVal ?? here.className,
    name: here.getAttribute("aria-label") || here.innerText || here.closest("label")?.innerText || "",
    seen: frame.bottom > 0 && frame.top < innerHeight && frame.right > 0 && frame.left < innerWidth,
    shown: marked.some((one) => (one.outlineStyle === "solid" && one.outlineColor === colour)
      || one.boxShadow.includes(colour) || one.stroke === colour),
  };
})()"""


@needs_browser
def test_every_panel_can_be_used_by_keyboard(opened, written):
    """The key Tab leads through all of it, in sight, with a name, and with the mark of what has the focus."""
    opened.size(1440, 900)
    opened.open(written[0])
    reached = {}
    for name in ("overview", "schedule", "memory", "source", "ir", "plan"):
        opened.click(f"#tab-{name}")
        opened.evaluate(f"document.querySelector('#tab-{name}').focus()")
        reached[name] = []
        for _ in range(60):
            opened.tab()
            focus = opened.evaluate(FOCUS)
            if focus["over"]:
                break
            assert focus["name"].strip(), focus
            assert focus["seen"], focus
            opened.until(f"{FOCUS}.shown")  # a text hears of its focus a moment later
            reached[name].append(focus["kind"])
        assert focus["over"], f"no way out of {name}"
    assert {"island", "arrow", "gantt"} <= set(reached["overview"])
    assert "gantt" in reached["schedule"]
    assert reached["memory"].count("area") == len(written[1]["memory"])
    assert "cm-content" in reached["source"]
    assert "passes" in reached["ir"]
    opened.click("#tab-memory")
    opened.evaluate("document.querySelector('.area').focus()")
    opened.key("End")
    last = written[1]["memory"][0]["points"][-1][0]
    assert opened.text(".memory-chart output").startswith(f"{last}: ")


@needs_browser
@pytest.mark.parametrize("width", [1280, 760])
def test_nothing_is_cut_off_on_a_narrow_screen(opened, written, width):
    opened.size(width, 800)
    opened.open(written[0])
    for name in ("overview", "schedule", "memory", "source", "ir", "plan"):
        opened.click(f"#tab-{name}")
        assert opened.evaluate("document.documentElement.scrollWidth") <= width, name


@needs_browser
def test_a_saved_program_can_be_looked_at(opened, lowered, tmp_path):
    write_page(Viewed("step.atoll", lowered.program, {}, lowered.report()), tmp_path / "saved.html")
    opened.open(tmp_path / "saved.html")
    opened.click("#tab-source")
    assert "The program tells no lines" in opened.text("#panel-source")
    opened.click("#tab-ir")
    assert "has no IR" in opened.text("#panel-ir")
    assert opened.problems == []


@needs_browser
def test_the_pictures_of_the_documents_can_be_taken(pytestconfig, tmp_path):
    if not pytestconfig.getoption("full"):
        pytest.skip("with --full: it trains the demo's model for eleven steps")
    pictures.take_all(tmp_path)
    committed = sorted(file.name for file in (ROOT / "docs" / "pictures").glob("view-*.webp"))
    assert sorted(file.name for file in tmp_path.iterdir()) == committed


@needs_browser
def test_the_page_of_a_model_of_118_layers(opened, pytestconfig, tmp_path):
    if not pytestconfig.getoption("full"):
        pytest.skip("with --full: it takes ten seconds to make")
    file = tmp_path / "palm.html"
    plan = "stages=2, microbatches=8, schedule=zb-h1"
    islands = "2 x v4[16x16x12](data=256, model=12)"
    assert run_here(["view", f"{PALM}:job_540b", "--topology", islands, "--plan", plan, "-o", str(file)]) == 0
    assert file.stat().st_size < 5_000_000
    assert opened.open(file) < 3
    assert opened.text(".story").endswith("schedule zb-h1")
    for panel, what, count in (
        ("overview", ".map .island", 2),
        ("overview", ".map .arrow", 2),
        ("schedule", ".pauses tbody tr", 2),
        ("memory", ".memory svg", 2),
        ("memory", ".memory tbody tr", 16),
        ("source", "#source-text .beside-line", 5),
        ("source", "#source-details tbody tr", 10),
        ("ir", ".passes [role=option]", 30),
        ("ir", "#ir-text .cm-line", 20),
        ("plan", "#panel-plan tbody tr", 5),
    ):
        opened.click(f"#tab-{panel}")
        opened.until(f"document.querySelectorAll('{what}').length >= {count}")
    assert "schedule=zb-h1" in opened.evaluate("document.querySelector('#report-text').textContent")
    assert opened.problems == []
    assert set(opened.requests) == {file.as_uri()}
