"""Goldens have one style, which `ir_tests/README.md` describes."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.own

IR_TESTS = Path(__file__).resolve().parents[2] / "ir_tests"
GOLDENS = sorted(IR_TESTS.rglob("*.mlir"))
WIDTH = 120

_SENTENCE = re.compile(r"\A(// RUN: .*\n)+\n(// (?!CHECK).*\n)*// .*[.:]\n\n(?!\n)")
_INDIVISIBLE = re.compile(r" *// (RUN: |expected-)")
_OTHER_CAPTURE = re.compile(r"%\[\[|%\{\{|\[\[[^\]:]*[^A-Z0-9_\]:]")
_NAME = re.compile(r"[!#]\w+ = ")
_SEPARATOR = "\n// -----\n"


def faults_of(text: str) -> Iterator[str]:
    if not _SENTENCE.match(text):
        yield "after the RUN lines and an empty line, say in a sentence what the golden shows, and leave a line empty"
    for number, line in enumerate(text.split("\n"), start=1):
        if len(line) > WIDTH and not _INDIVISIBLE.match(line):
            yield f"line {number} is wider than {WIDTH} columns"
        if line.lstrip().startswith("// ") and _OTHER_CAPTURE.search(line):
            yield f"line {number} has a capture that is not like [[NAME:%.*]] or {{{{%.*}}}}"
    for piece in text.split(_SEPARATOR):
        code = [line for line in piece.split("\n") if not line.lstrip().startswith("//") and not _NAME.match(line)]
        spelled = Counter(type_ for line in code for type_ in spelled_types(line))
        yield from (f"name {type_}, which stands there {count} times" for type_, count in spelled.items() if count > 1)


def spelled_types(line: str) -> Iterator[str]:
    """The types of values on islands that are written out."""
    for match in re.finditer("!mpmd.mesh_tensor<", line):
        depth, end = 1, match.end()
        while depth:
            depth += (line[end] == "<") - (line[end] == ">")
            end += 1
        yield line[match.start() : end]


@pytest.mark.parametrize("path", GOLDENS, ids=lambda path: str(path.relative_to(IR_TESTS)))
def test_a_golden_is_like_the_others(path):
    assert list(faults_of(path.read_text(encoding="utf-8"))) == []


def test_names_of_goldens_are_words():
    assert [path for path in GOLDENS if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", path.stem)] == []


GOOD = """\
// RUN: atoll-opt %s --passes "cse" | filecheck %s

// What it shows.

// CHECK: [[X:%.*]] = stablehlo.negate {{%.*}}
!on0 = !mpmd.mesh_tensor<"island0", tensor<4xf32>>
func.func @main(
    %x: !on0, %y: !mpmd.mesh_tensor<"island1", tensor<4xf32>>)
    -> !on0 {
"""


@pytest.mark.parametrize(
    ("before", "after", "fault"),
    [
        ("", "", ""),
        ("// What it shows.\n\n", "", "sentence"),
        ("\n// What", "// What", "sentence"),
        ("shows.\n\n", "shows.\n", "sentence"),
        ("[[X:%.*]]", "%[[X:.*]]", "line 5 has a capture"),
        ("{{%.*}}", "%{{.*}}", "line 5 has a capture"),
        ("-> !on0", '-> !mpmd.mesh_tensor<"island1", tensor<4xf32>>', "name !mpmd.mesh_tensor"),
        ("What", "What" + 120 * ".", "line 3 is wider"),
    ],
)
def test_what_is_a_fault(before, after, fault):
    faults = list(faults_of(GOOD.replace(before, after, 1) if before else GOOD))
    assert len(faults) == bool(fault)
    assert all(fault in one for one in faults)
