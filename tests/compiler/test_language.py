"""The shared base of the small languages: errors that point, whatever the text."""

import subprocess
import sys

import pytest
from atoll.compiler.errors import PlanError, TopologyError, UsageError
from atoll.compiler.pipeline import pipeline_text
from atoll.compiler.pipeline.pipeline_text import PipelineText
from atoll.compiler.plan import plan, stage_text
from atoll.compiler.plan.plan import Plan
from atoll.compiler.plan.stage_text import StageText
from atoll.compiler.schedules import schedule_text
from atoll.compiler.schedules.schedule import Schedule
from atoll.compiler.source_line import EXCERPT_WIDTH
from atoll.compiler.text.language import known_names, shown
from atoll.compiler.topology import topology
from atoll.compiler.topology.topology import Topology
from hypothesis import given, settings
from hypothesis import strategies as st
from lark.lexer import PatternRE
from told import told

pytestmark = pytest.mark.own

LANGUAGES = [module._LANGUAGE for module in (topology, stage_text, plan, schedule_text, pipeline_text)]


@pytest.mark.parametrize("language", LANGUAGES, ids=lambda language: language.name)
def test_every_terminal_that_is_an_expression_has_a_human_name(language):
    read = {terminal.name for terminal in language.lark.terminals if isinstance(terminal.pattern, PatternRE)}
    assert set(language.terminals) == read - set(language.lark.ignore_tokens)


@pytest.mark.parametrize("language", LANGUAGES, ids=lambda language: language.name)
@pytest.mark.parametrize("text", [None, 3, b"2 x cpu[4]", ["a"]], ids=repr)
def test_a_text_must_be_a_string(language, text):
    with pytest.raises(language.error) as caught:
        language.parse(text)
    assert told(caught.value) == f"{language.name} must be a string, not {type(text).__name__}"


def test_the_caret_is_below_its_line():
    with pytest.raises(TopologyError) as caught:
        Topology.parse("island a : cpu[4]\r\nisland\tb ; cpu[4]\r\n")
    assert caught.value.message == (
        "topology text, line 2, column 10: unexpected ';'; expected ':'\n  island b ; cpu[4]\n           ^"
    )


def test_of_a_long_line_only_the_neighbourhood_is_shown():
    text = "a, " * 1000 + "| | " + "b, " * 1000
    with pytest.raises(PlanError) as caught:
        StageText.parse(text)
    line, caret = caught.value.excerpt.splitlines()
    assert len(line) == 2 + 3 + EXCERPT_WIDTH + 3
    assert line[caret.index("^")] == "|"
    assert caught.value.where == "stage text, line 1, column 3001"


def test_the_end_of_a_long_line_is_shown():
    with pytest.raises(PlanError) as caught:
        StageText.parse("a, " * 1000)
    line, caret = caught.value.excerpt.splitlines()
    assert line.startswith("  ...")
    assert len(caret) == len(line) + 1


def test_words_in_messages_are_short_and_printable():
    assert shown("cpu") == "'cpu'"
    assert shown("\x1b[2J") == r"'\x1b[2J'"
    assert len(shown("a" * 10000)) == 42


def test_known_names():
    assert known_names("stage", ["stages", "schedule"]) == "did you mean 'stages'? known are stages, schedule"
    assert known_names("quux", ["stages"]) == "known are stages"
    assert known_names("quux", []) == "there are none"
    assert known_names("GIB", ["GB", "GiB"]) == "did you mean 'GiB'? known are GB, GiB"
    assert known_names("quux", [f"i{index}" for index in range(22)]).endswith(", i19 and 2 more")


def test_the_front_door_does_not_import_lark():
    program = "import sys, atoll; sys.exit('lark' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)


VALID = {
    "topology": (
        Topology.parse,
        TopologyError,
        [
            "2 x cpu[4] 1.5 GiB",
            "2 x v4[16x16x12](data=256, model=12)\nlink island0 <-> island1 : 25 GB/s, 1 ms",
            "island a : cpu[data=2, model=2]; island b : gpu[4] # b\nlink a <-> b : 2.5 MiB/s, 0.5 us",
        ],
    ),
    "stage text": (StageText.parse, PlanError, ["a, b[0..5]/c | d", '"x \\u0041 y"/jit(f), layer_[3..12] | e | f.g']),
    "plan": (
        Plan.parse,
        PlanError,
        [
            'stages="a, b[0..5]/c | d", microbatches=8, replicas=2',
            'schedule=interleaved-1f1b(2), stages=4, placement={"a": "left", "b/c": "right"}',
        ],
    ),
    "schedule": (
        Schedule.parse,
        PlanError,
        [
            "schedule a: 2 islands, 2 microbatches\nisland 0: F0 F1 B0 B1\nisland 1: F0 B0 W0 F1 B1 W1 # zb",
            "schedule v: 1 island, 1 microbatch, stages on 0 0; island 0: F0@0 F0@1+B0@1 B0@0",
        ],
    ),
    "pass pipeline": (
        PipelineText.parse,
        UsageError,
        ['normalize, fold{n=8 list=[a, 2] s="x y"}, cse', "func.func(canonicalize{top-down=false m=a,b}, cse), dce"],
    ),
}


@st.composite
def mutated(draw, texts):
    """A valid text of which some characters were deleted, replaced or doubled."""
    text = draw(st.sampled_from(texts))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(text)))
        replacement = draw(st.sampled_from(["", text[at : at + 1] * 2, *'0-\n"[]{}=,']) | st.text(max_size=2))
        text = text[:at] + replacement + text[at + 1 :]
    return text


@pytest.mark.parametrize(("parse", "error", "texts"), VALID.values(), ids=VALID)
@given(data=st.data())
@settings(max_examples=250, deadline=None)
def test_any_text_gives_a_value_or_the_error_of_its_language(parse, error, texts, data):
    text = data.draw(st.text() | mutated(texts))
    try:
        value = parse(text)
    except error as fault:
        assert fault.excerpt  # noqa: PT017 (both outcomes are right)
        str(fault).encode()
    else:
        assert parse(str(value)) == value


@pytest.mark.parametrize(("parse", "error"), [row[:2] for row in VALID.values()], ids=VALID)
@pytest.mark.parametrize(
    "text",
    ["(" * 9999, "[" * 9999, "{" * 9999, "a{x=" * 999, "a.b(" * 999, "9" * 9999, "\0", "\ud800", "\ufeff", '"' * 9999],
    ids=lambda text: f"{text[:4]!a} x {len(text)}",
)
def test_hostile_texts(parse, error, text):
    try:
        value = parse(text)
    except error as fault:
        assert len(str(fault)) < 1000  # noqa: PT017 (both outcomes are right: a scope may be called "(((")
        str(fault).encode()
    else:
        assert parse(str(value)) == value
