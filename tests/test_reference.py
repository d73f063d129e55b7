"""Pages and pictures that scripts make are what they make now, and nothing of the front door is missing."""

import importlib.util
from pathlib import Path

import pytest
from atoll.compiler.commands.cli import _COMMANDS

import atoll

pytestmark = pytest.mark.own

DOCS = Path(__file__).resolve().parent.parent / "docs"


def load_script(name):
    """The functions of a script in `docs/site/`, which is no package."""
    spec = importlib.util.spec_from_file_location(name, DOCS / "site" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


REFERENCE = load_script("reference")
PAGES = REFERENCE.pages()
PICTURES = load_script("pictures").pictures()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_what_the_script_makes(name):
    assert (DOCS / name).read_text() == PAGES[name], "run python docs/site/reference.py"


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_what_the_script_draws(name):
    assert (DOCS / "pictures" / name).read_text() == PICTURES[name], "run python docs/site/pictures.py"


def test_every_name_of_the_front_door_is_there_and_says_what_it_is():
    sections = dict(one.split("`\n\n", 1) for one in PAGES["api.md"].split("\n## `atoll.")[1:])
    assert list(sections) == atoll.__all__
    for name, text in sections.items():
        assert text.partition("```\n\n")[2] or not text.startswith("```"), name


def test_what_is_left_out_exists():
    for inner in REFERENCE.INNER:
        owner, _, member = inner.partition(".")
        assert hasattr(getattr(atoll, owner), member), inner


def test_every_command_is_there_and_every_option_is_explained():
    page = PAGES["commands.md"]
    assert [line for line in page.splitlines() if line.startswith("## ")] == [
        f"## `atoll {one.name}`" for one in _COMMANDS
    ]
    assert " None |" not in page
