"""Follows the pages `docs/adding-a-*.md` to the letter, each in a copy of the repository.

A block ```` ```LANGUAGE file=PATH ```` is a file to write; ```` ```diff file=PATH ```` is a change to one, found by its
context; in ```` ```sh ```` blocks, the lines below a command are what it prints.
"""

import doctest
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.own

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted((ROOT / "docs").glob("adding-a-*.md"))

_BLOCK = re.compile(r"^```(\w+)(?: file=(\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_COMMANDS = {
    "atoll": ["-m", "atoll"],
    "atoll-opt": ["-m", "atoll", "opt"],
    "pytest": ["-m", "pytest", "-q"],
    "python": [],
}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_leads_where_it_says(page, tmp_path):
    copy_repository(tmp_path)
    blocks = _BLOCK.findall(page.read_text(encoding="utf-8"))
    assert blocks
    for language, path, text in blocks:
        if language == "sh":
            follow(text, tmp_path)
        elif language == "diff":
            change(tmp_path / path, text)
        else:
            (tmp_path / path).parent.mkdir(exist_ok=True)
            (tmp_path / path).write_text(text, encoding="utf-8")


def copy_repository(to: Path) -> None:
    """Copy what a page needs, as an installed package `atoll` whose folders also stand where the page has them.

    What Python has made of the sources comes along, with their times: to make it again takes longer than a command.
    """
    package = to / "site" / "atoll"
    leave_out = shutil.ignore_patterns("*.pyc.*")  # what another process is writing
    shutil.copytree(ROOT / "atoll", package, ignore=leave_out)
    for folder in ("checkpoint", "compiler", "passes", "runtime"):
        shutil.copytree(ROOT / folder, package / folder, ignore=leave_out)
        (to / folder).symlink_to(package / folder)
    for folder in ("docs", "ir_tests", "tests"):
        shutil.copytree(ROOT / folder, to / folder, ignore=leave_out)
    shutil.copy(ROOT / "pyproject.toml", to)


def change(file: Path, diff: str) -> None:
    """Apply a diff without line numbers: its old lines must stand in the file, once."""
    lines = diff.splitlines(keepends=True)
    old = "".join(line[1:] for line in lines if not line.startswith("+"))
    new = "".join(line[1:] for line in lines if not line.startswith("-"))
    text = file.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{file.name} has changed: the page's diff no longer applies"
    file.write_text(text.replace(old, new), encoding="utf-8")


def follow(session: str, root: Path) -> None:
    """Run the commands of a session: each prints what is shown below it, if anything, and fails if that is an error."""
    for part in re.split(r"^\$ ", session, flags=re.MULTILINE)[1:]:
        command, _, shown = part.partition("\n")
        status, printed = run(command, root)
        assert status == shown.startswith("error: "), printed
        assert not shown or doctest.OutputChecker().check_output(shown, printed, doctest.ELLIPSIS), printed


def run(command: str, root: Path) -> tuple[int, str]:
    """The exit status of a command, and what it prints on both streams."""
    program, *arguments = shlex.split(command)
    result = subprocess.run(
        [sys.executable, *_COMMANDS[program], *arguments],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root / "site")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return result.returncode, result.stdout.replace(f"{root}/", "")
