"""Every fault of `mutations/` can still be put into the code, and the test that must find it is there.

That it does find it, `make mutations` shows; that takes minutes.
"""

import importlib.util
import re
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.own

ROOT = Path(__file__).resolve().parent.parent
FEWEST, FEWEST_FAST = 40, 35


def load_mutations():
    """The list; its folder is no package."""
    spec = importlib.util.spec_from_file_location("mutations", ROOT / "tests" / "mutations" / "mutations.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.MUTATIONS


MUTATIONS = load_mutations()


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_fault_can_be_put_in(mutation):
    assert (ROOT / mutation.file).read_text(encoding="utf-8").count(mutation.old) == 1
    assert mutation.new != mutation.old


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_the_test_that_finds_it_is_there(mutation):
    path, _, name = mutation.killed_by.partition("::")
    text = (ROOT / path).read_text(encoding="utf-8")
    if path.endswith(".mlir"):
        assert "// RUN:" in text
    else:
        assert re.search(rf"^def {name.partition('[')[0]}\(", text, re.MULTILINE)


def test_there_are_enough_and_each_has_a_name_of_its_own():
    assert len({one.name for one in MUTATIONS}) == len(MUTATIONS) >= FEWEST


def test_make_fast_finds_nearly_all():
    command = ["make", "--no-print-directory", "--dry-run", "fast"]  # a make that runs the tests asks for directories
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    words = said.rpartition("pytest")[2].partition(";")[0].split()
    left_out = {word.removeprefix("--ignore=") for word in words if word.startswith("--ignore=")}
    fast = [word for word in words if not word.startswith("-")]
    paths = [one.killed_by.partition("::")[0] for one in MUTATIONS]
    found = [path for path in paths if path not in left_out and any(Path(path).is_relative_to(one) for one in fast)]
    assert len(found) >= FEWEST_FAST
    # pytest runs nothing at all if one of them is not there.
    assert [word for word in {*fast, *left_out} if not (ROOT / word).exists()] == []
