"""The documents as one: every link leads somewhere, and every page can be found. `make site` has the same pages."""

import re
from functools import cache
from pathlib import Path

import pytest

pytestmark = pytest.mark.own

ROOT = Path(__file__).resolve().parent.parent
FIRST, CONTENTS = ROOT / "README.md", ROOT / "docs" / "index.md"
PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("ir_tests/*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")]
)

CODE = re.compile(r"^ *```.*?^ *```$|`[^`\n]*`", re.MULTILINE | re.DOTALL)
FENCE = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


def targets(page):
    """What the links of a page name, without those to other hosts."""
    for target in LINK.findall(CODE.sub("", page.read_text(encoding="utf-8"))):
        if not re.match(r"https?://", target):
            yield target


def led_to(page, target):
    """The file that a link leads to, and the heading in it, if it names one."""
    path, _, anchor = target.partition("#")
    return (page.parent / path).resolve() if path else page, anchor


@cache
def anchors(page):
    """How links name the headings of a page, by the rule of GitHub."""
    found = []
    for heading in HEADING.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
        shown = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
        slug = re.sub(r"[^\w\- ]", "", shown).replace(" ", "-")
        found.append(slug if slug not in found else f"{slug}-{found.count(slug)}")
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file_and_a_heading_of_it(page):
    for target in targets(page):
        file, anchor = led_to(page, target)
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), f"{target}: the headings are {anchors(file)}"


def test_every_page_can_be_reached_from_the_first():
    reached, ahead = set(), [FIRST]
    while ahead:
        page = ahead.pop()
        if page in PAGES and page not in reached:
            reached.add(page)
            ahead += [led_to(page, target)[0] for target in targets(page)]
    assert reached == set(PAGES)


def test_the_contents_list_every_page_once():
    listed = [led_to(CONTENTS, target)[0] for target in targets(CONTENTS)]
    listed.remove(FIRST)  # which its first sentence names
    assert sorted(listed) == sorted(set(PAGES) - {FIRST, CONTENTS}), "a page has one line in docs/index.md"


def test_a_heading_is_named_as_links_name_it(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# `atoll.Plan`, and [why](x.md)\n\n```text\n# none\n```\n\n## Twice\n\n## Twice\n")
    assert anchors(page) == ["atollplan-and-why", "twice", "twice-1"]
