"""Texts of pass pipelines."""

import pytest
from atoll.compiler.errors import UsageError
from atoll.compiler.pipeline.pipeline_text import Nested, Option, PassText, PipelineText
from hypothesis import given, settings
from hypothesis import strategies as st
from told import told

pytestmark = pytest.mark.own


def test_a_text_has_a_value():
    text = "normalize, fold{microbatches=8}, cse, func.func(canonicalize{max-iterations=3 top-down=false})"
    canonicalize = PassText("canonicalize", (Option("max-iterations", "3"), Option("top-down", "false")))
    assert PipelineText.parse(text) == PipelineText(
        (
            PassText("normalize"),
            PassText("fold", (Option("microbatches", "8"),)),
            PassText("cse"),
            Nested("func.func", (canonicalize,)),
        )
    )
    assert str(PipelineText.parse(text)) == text


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("", ""),
        (" a{ } ,b", "a, b"),
        ('a{x="8" y="b c" z=""}', 'a{x=8 y="b c" z=""}'),
        ('a{x=[1,2] y=[] z=["b, c"]}', 'a{x=[1, 2] y=[] z=["b, c"]}'),
        ("sccp{list=a,b,c}", "sccp{list=a,b,c}"),
        ("mpmd.call( a , b )", "mpmd.call(a, b)"),
    ],
)
def test_the_canonical_text(text, canonical):
    assert str(PipelineText.parse(text)) == canonical
    assert PipelineText.parse(canonical) == PipelineText.parse(text)


NAME = "expected one of: a name, an operation's name"


@pytest.mark.parametrize(
    ("text", "column", "sentence"),
    [
        ("a,, b", 3, f"unexpected ','; {NAME}"),
        ("a,", 3, f"unexpected end of the text; {NAME}"),
        ("8a", 1, f"unexpected '8a'; {NAME}, the end of the text"),
        ("a b", 3, "unexpected 'b'; expected one of: ',', '{', the end of the text"),
        ("a{x}", 4, "unexpected '}'; expected '='"),
        ("a{x=}", 5, "unexpected '}'; expected one of: '[', a string in double quotes, a word"),
        ("a{x=1, y=2}", 6, "unexpected ','; expected one of: '}', a name"),
        ("a{x=1", 6, "unexpected end of the text; expected one of: '}', a name"),
        ("a{x=[b c]}", 8, "unexpected 'c'; expected one of: ',', ']'"),
        ("a{x=1 y=2 x=3}", 11, "a: option x is there twice; write each option once"),
        ('a{x="\\q"}', 6, "bad string: Invalid \\escape; strings are written as in JSON"),
        ("func.func()", 11, "unexpected ')'; expected a name"),
        ("func.func(b.c(a))", 12, "unexpected '.'; expected one of: ')', ',', '{'"),
    ],
)
def test_a_fault_in_a_text(text, column, sentence):
    with pytest.raises(UsageError) as caught:
        PipelineText.parse(text)
    assert (
        caught.value.message == f"pass pipeline, line 1, column {column}: {sentence}\n  {text}\n  {' ' * (column - 1)}^"
    )


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: PassText("a b"), "'a b' cannot be the name of a pass; use letters, digits, '_' and '-'"),
        (lambda: Option("", "b"), "'' cannot be the name of an option; use letters, digits, '_' and '-'"),
        (lambda: Nested("func", (PassText("a"),)), "'func' cannot be the name of an operation; "),
        (lambda: Nested("func.func", ()), "func.func has no passes; write at least one in the parentheses"),
        (lambda: PassText("a", (Option("b", "1"), Option("b", "2"))), "a: option b is there twice; write each option"),
    ],
)
def test_a_fault_in_a_value(make, sentence):
    with pytest.raises(UsageError) as caught:
        make()
    assert told(caught.value).startswith(sentence)


def test_elements_point_at_their_text():
    group = PipelineText.parse("a, b.c(\n  d{x=1 y=2})").elements[1]
    (inner,) = group.passes
    option = inner.options[1]
    assert str(group.fault("wrong")) == "pass pipeline, line 1, column 4: wrong\n  a, b.c(\n     ^"
    assert str(inner.fault("wrong")) == "pass pipeline, line 2, column 3: wrong\n    d{x=1 y=2})\n    ^"
    assert str(option.fault("wrong")) == "pass pipeline, line 2, column 9: wrong\n    d{x=1 y=2})\n          ^"
    assert str(option.value_fault("wrong")) == "pass pipeline, line 2, column 11: wrong\n    d{x=1 y=2})\n            ^"


names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_-]{0,6}", fullmatch=True)
words = st.text(max_size=6) | st.sampled_from(["8", "true", "a,b", "a,", ",", "-1.5"])
values = words | st.lists(words, max_size=3).map(tuple)
options = st.lists(st.builds(Option, names, values), max_size=3, unique_by=lambda option: option.name).map(tuple)
passes = st.builds(PassText, names, options)
operations = st.from_regex(r"[a-z_]{1,4}(\.[a-z_0]{1,3}){1,2}", fullmatch=True).filter(lambda name: ".0" not in name)
groups = st.builds(Nested, operations, st.lists(passes, min_size=1, max_size=3).map(tuple))
pipelines = st.builds(PipelineText, st.lists(passes | groups, max_size=4).map(tuple))


@given(pipelines)
@settings(max_examples=100, deadline=None)
def test_a_value_survives_its_text(pipeline):
    assert PipelineText.parse(str(pipeline)) == pipeline
