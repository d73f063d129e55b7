"""Stage texts."""

import pytest
from atoll.compiler.errors import PlanError
from atoll.compiler.plan.stage_text import Component, Pattern, StageText
from hypothesis import given, settings
from hypothesis import strategies as st
from told import told

pytestmark = pytest.mark.own


def scope(*components):
    return Pattern(tuple(Component(each) if isinstance(each, str) else Component(*each) for each in components))


@pytest.mark.parametrize(
    ("text", "stages"),
    [
        ("a", [[scope("a")]]),
        (
            "embed, layer_[0..5] | layer_[6..11], head",
            [[scope("embed"), scope(("layer_", 0, 5))], [scope(("layer_", 6, 11)), scope("head")]],
        ),
        ("a/b[1..1]/c", [[scope("a", ("b", 1, 1), "c")]]),
        ("h/[0..5] | a/h/[6..11]/b", [[scope("h", ("", 0, 5))], [scope("a", "h", ("", 6, 11), "b")]]),
        (" a \n|\tb ", [[scope("a")], [scope("b")]]),
        ("transpose(jvp(f)):0@<$~{é}.-+", [[scope("transpose(jvp(f)):0@<$~{é}.-+")]]),
        (r'"a b|,/[]#\"\n"/c', [[scope('a b|,/[]#"\n', "c")]]),
        ('"plain"[0..1]', [[scope(("plain", 0, 1))]]),
    ],
)
def test_a_text_has_a_value(text, stages):
    value = StageText(tuple(map(tuple, stages)))
    assert StageText.parse(text) == value
    assert StageText.parse(str(value)) == value


def test_the_canonical_text():
    assert str(StageText.parse(' a,"b"/"c d"[00..1]|e ')) == 'a, b/"c d"[0..1] | e'


NAME = "expected one of: a name in double quotes, a scope's name"


@pytest.mark.parametrize(
    ("text", "column", "what", "remedy"),
    [
        ("", 1, "unexpected end of the text", NAME),
        ("a |", 4, "unexpected end of the text", NAME),
        ("a || b", 4, "unexpected '|'", NAME),
        ("a,, b", 3, "unexpected ','", NAME),
        ("a//b", 3, "unexpected '/'", NAME.replace(": ", ": '[', ")),
        ("[0..5] | a", 1, "unexpected '['", NAME),
        ("a/[5..2]", 3, "the range 5..2 is empty", "both ends are included; write the lower first"),
        ("a b", 3, "unexpected 'b'", "expected one of: ',', '/', '[', '|', the end of the text"),
        ("a # b", 3, "unexpected '#'", "expected one of: ',', '/', '[', '|', the end of the text"),
        ("a[1]", 4, "unexpected ']'", "expected '..'"),
        ("a[-1..2]", 3, "unexpected '-'", "expected a whole number"),
        ("b | a[5..2]", 5, "the range 5..2 is empty", "both ends are included; write the lower first"),
        ("a[0.." + "9" * 40 + "]", 6, "the number has 40 digits", "write at most 30"),
        ("a, b | b", 8, "the pattern 'b' is there twice", "name each scope for one stage"),
        ('a, "a"', 4, "the pattern 'a' is there twice", "name each scope for one stage"),
        ('""', 1, "a scope's name is empty", "write the name of a scope"),
        ('"a', 1, "a string is not closed, or not expected here", NAME),
        (r'"a\q"', 3, "bad string: Invalid \\escape", "strings are written as in JSON"),
    ],
)
def test_a_fault_in_a_text(text, column, what, remedy):
    with pytest.raises(PlanError) as caught:
        StageText.parse(text)
    place = f"stage text, line 1, column {column}"
    assert caught.value.message == f"{place}: {what}; {remedy}\n  {text}\n  {' ' * (column - 1)}^"


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Component(""), "a scope's name is empty; write the name of a scope"),
        (lambda: Component("a", 1), "the last of a range must be a whole number, not NoneType"),
        (lambda: Component("a", -1, 1), "the first of a range is too small; it must be at least 0"),
        (lambda: Component("", 1), "the last of a range must be a whole number, not NoneType"),
        (lambda: scope(("", 0, 5)), "numbers of no scope: [0..5]; write the scope that they are in: layers/[0..5]"),
        (lambda: Pattern(()), "a scope pattern is empty; write the name of a scope"),
        (lambda: StageText(()), "there are no stages; write at least one scope pattern"),
        (lambda: StageText(((scope("a"),), ())), "stage 1 is empty; write at least one scope pattern"),
        (
            lambda: StageText(((scope("a"), scope("a")),)),
            "the pattern 'a' is there twice; name each scope for one stage",
        ),
        (lambda: Pattern.parse("a, b"), "'a, b' is not one scope pattern; write one pattern, without ',' or '|'"),
    ],
)
def test_a_fault_in_a_value(make, sentence):
    with pytest.raises(PlanError) as caught:
        make()
    assert told(caught.value) == sentence


def test_one_pattern():
    assert Pattern.parse("a / b[0..1]") == scope("a", ("b", 0, 1))


names = st.text(min_size=1, max_size=6) | st.sampled_from(["embed", "layer_", "jit(f)"])
ranges = st.tuples(st.integers(0, 99), st.integers(0, 99)).map(sorted)
components = st.builds(Component, names) | st.builds(lambda name, ends: Component(name, *ends), names, ranges)
later = components | st.builds(lambda ends: Component("", *ends), ranges)
patterns = st.builds(lambda first, rest: Pattern((first, *rest)), components, st.lists(later, max_size=2))


@st.composite
def stage_texts(draw):
    unique = draw(st.lists(patterns, min_size=1, max_size=6, unique=True))
    cut = draw(st.integers(1, len(unique)))
    return StageText(tuple(tuple(stage) for stage in (unique[:cut], unique[cut:]) if stage))


@given(stage_texts())
@settings(max_examples=100, deadline=None)
def test_a_value_survives_its_text(value):
    assert StageText.parse(str(value)) == value
