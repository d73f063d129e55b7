"""Every pass has its golden tests and says what it does; every golden file is read by one."""

import inspect
from pathlib import Path

import pytest
from atoll.compiler.pipeline.registry import pass_class
from atoll.passes import PASSES

pytestmark = pytest.mark.own

IR_TESTS = Path(__file__).resolve().parents[2] / "ir_tests"


@pytest.mark.parametrize("name", sorted(PASSES))
def test_a_pass_has_a_golden_folder(name):
    assert list((IR_TESTS / name).glob("*.mlir")), f"write goldens for {name} in ir_tests/{name}/"


@pytest.mark.parametrize("name", sorted(PASSES))
def test_a_docstring_tells_what_the_pass_does(name):
    documented = pass_class(name)
    text = inspect.getdoc(documented) or ""  # Python 3.13 dedents docstrings, older ones do not
    assert documented.__name__ == name.title().replace("-", "")
    assert documented.summary().endswith("."), "the first line is the summary, one sentence"
    assert "\nRequires: " in text, "say what must be true of the IR"
    before, arrow, after = text.partition("\n    ~~>\n")
    assert arrow, "show IR before and after `~~>`"
    assert before.splitlines()[-1].startswith(" " * 4)
    assert after.startswith(" " * 4)


def test_every_folder_belongs_to_a_pass():
    folders = {path.name for path in IR_TESTS.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders <= {*PASSES, "invalid", "pipeline"}


def test_every_snapshot_belongs_to_a_golden():
    assert [path for path in IR_TESTS.rglob("*.expected") if not path.with_suffix(".mlir").exists()] == []
