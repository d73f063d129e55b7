"""The documents themselves. `conftest.py` runs their blocks; here is what it relies on."""

import importlib.util
import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.own

ROOT = Path(__file__).resolve().parent.parent
_AT_THE_ROOT = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")
EXAMPLES = sorted((ROOT / "examples").glob("**/*.md"))
DOCUMENTS = [*(ROOT / name for name in _AT_THE_ROOT), *sorted((ROOT / "docs").glob("*.md")), *EXAMPLES]


def id_of(document):
    return str(document.relative_to(ROOT))


# What may stand behind a fence: what is run, and what nobody could take for something to run.
RUN = ("console", "python")
NOT_RUN = ("mlir", "text", "toml")

# Followed block by block by tests/test_guides.py.
FOLLOWED = "adding-a-"

FENCE = re.compile(r"^[ \t>*-]*(?:```+|~~~+)[ \t]*(.*?)[ \t]*\n(?s:.*?)^[ \t>]*(?:```+|~~~+)[ \t]*$", re.MULTILINE)


def load_conftest():
    """The functions of `conftest.py`, which pytest does not let be imported."""
    spec = importlib.util.spec_from_file_location("document_runner", ROOT / "conftest.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


CONFTEST = load_conftest()


@pytest.mark.parametrize("document", DOCUMENTS, ids=id_of)
def test_no_block_escapes_under_another_language(document):
    for language in FENCE.findall(document.read_text()):
        assert language in (*RUN, *NOT_RUN) or document.name.startswith(FOLLOWED), f"```{language} is not run"


def test_the_first_page_has_no_long_listing():
    for block in re.findall(r"^```\w+\n(.*?)^```$", DOCUMENTS[0].read_text(), re.MULTILINE | re.DOTALL):
        assert block.count("\n") <= 15, block


def test_the_architecture_has_every_folder():
    page = (ROOT / "docs" / "architecture.md").read_text()
    packages = [path.parent.relative_to(ROOT) for path in ROOT.glob("*/__init__.py")]
    rooms = [path.parent.relative_to(ROOT) for path in (ROOT / "compiler").glob("*/__init__.py")]
    for folder in (*packages, *rooms):
        assert f"](../{folder}" in page, f"{folder} has no row in docs/architecture.md"


@pytest.mark.parametrize("language", ["sh", "bash", "py", "python3", ""])
def test_other_languages_would_be_noticed(language):
    [found] = FENCE.findall(f"text\n\n```{language}\natoll demo\n```\n")
    assert found == language
    assert found not in (*RUN, *NOT_RUN)


def test_a_console_block_is_commands_and_outputs():
    block = "$ echo a\na\n\n$ cat <<END\n> b\n>\n> END\nb\n> c\n$ true"
    assert list(CONFTEST.commands(block)) == [("echo a", "a\n\n"), ("cat <<END\nb\n\nEND", "b\n> c\n"), ("true", "")]


def test_a_console_block_must_begin_with_a_command():
    with pytest.raises(ValueError, match="begins with"):
        list(CONFTEST.commands("atoll demo\n"))


PLANNING = (ROOT / "docs" / "planning.md").read_text()


@pytest.mark.parametrize("table", re.findall(r"^```text\n(\$ atoll plan .*?)^```$", PLANNING, re.MULTILINE | re.DOTALL))
def test_what_is_planned_for_large_models_is_as_shown(table, request):
    if not request.config.getoption("full"):
        pytest.skip("each takes most of a minute: --full")
    [(command, shown)] = CONFTEST.commands(table)
    assert CONFTEST.fault_of(command, shown, ROOT) is None


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ("echo a; echo b", "a\nb\n"),
        ("echo a b c >&2", "a ... c\n"),
        ("echo a", ""),
        ("echo 'error: x'; exit 1", "error: x\n"),
        ("pip install -e /nowhere --help", ""),
    ],
)
def test_a_command_that_is_as_shown(command, shown, tmp_path):
    assert CONFTEST.fault_of(command, shown, tmp_path) is None


@pytest.mark.parametrize(
    ("command", "shown", "fault"),
    [
        ("echo a", "b\n", "Expected:\n    b\nGot:\n    a\n"),
        ("echo a; false", "a\n", "ended with 1, not 0, and printed:\na\n"),
        ("false", "", "ended with 1, not 0"),
        ("echo 'error: x'", "error: x\n", "ended with 0, not 1"),
        ("echo 'error: x'; exit 2", "error: x\n", "ended with 2, not 1"),
        ("make no-such-target", "", "ended with 2, not 0"),
    ],
)
def test_a_command_that_is_not_as_shown(command, shown, fault, tmp_path):
    assert fault in CONFTEST.fault_of(command, shown, tmp_path)


def test_every_example_has_a_page_that_is_run_and_listed():
    folders = {path.parent.name for path in (ROOT / "examples").glob("*/__init__.py")}
    pages = {page.parent.name: page.read_text() for page in EXAMPLES}
    listed = pages.pop("examples")
    assert set(pages) == folders
    assert all("```console\n$ python examples/" in text for text in pages.values())
    assert all(f"]({folder})" in listed for folder in folders)
