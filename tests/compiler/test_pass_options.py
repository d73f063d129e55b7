"""Options of passes: from the text to the dataclass."""

from dataclasses import dataclass, field
from typing import Literal

import pytest
from atoll.compiler.errors import PlanError, UsageError
from atoll.compiler.pipeline.pass_options import describe_options, pass_text, read_options
from atoll.compiler.pipeline.pipeline_text import PipelineText
from hypothesis import given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.own


@dataclass(frozen=True)
class Fold:
    microbatches: int
    max_iterations: int = 10
    rate: float = 0.5
    top_down: bool = True
    mode: Literal["fast", "small"] = "fast"
    name: str = ""
    limit: int | None = None
    axes: tuple[str, ...] = ()
    sizes: tuple[int, ...] = field(default_factory=lambda: (1, 2))
    hidden: int = field(default=0, init=False)


@dataclass(frozen=True)
class Plain:
    pass


@dataclass(frozen=True)
class Picky:
    value: int = 1

    def __post_init__(self):
        if self.value == 2:
            raise ValueError("2 is odd")
        if self.value == 3:
            raise PlanError("3 is even", remedy="take 4")


def read(pass_class, text):
    (element,) = PipelineText.parse(text).elements
    return read_options(pass_class, element)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("fold{microbatches=8}", Fold(8)),
        ("fold{microbatches=-8 max-iterations=3}", Fold(-8, max_iterations=3)),
        ("fold{microbatches=8 rate=2 top-down=false mode=small}", Fold(8, rate=2.0, top_down=False, mode="small")),
        ('fold{microbatches=8 name="a b" limit=7}', Fold(8, name="a b", limit=7)),
        ("fold{microbatches=8 axes=[a, b] sizes=[]}", Fold(8, axes=("a", "b"), sizes=())),
    ],
)
def test_options_make_a_pass(text, value):
    assert read(Fold, text) == value
    assert read(Fold, str(pass_text(value, "fold"))) == value


def test_a_pass_is_written_with_what_differs_from_its_defaults():
    assert str(pass_text(Fold(8, rate=2.0, name="a b"), "fold")) == 'fold{microbatches=8 rate=2.0 name="a b"}'
    assert str(pass_text(Plain(), "plain")) == "plain"


def test_a_pass_without_options():
    assert read(Plain, "plain") == Plain()
    assert describe_options(Plain) == ""


def test_the_description():
    assert describe_options(Fold) == (
        "microbatches=int, max-iterations=int (default 10), rate=float (default 0.5), top-down=bool (default true), "
        'mode=fast|small (default fast), name=str (default ""), limit=int (optional), axes=[str, ...] (default []), '
        "sizes=[int, ...] (default [1, 2])"
    )


OPTIONS = "known are microbatches, max-iterations, rate, top-down, mode, name, limit, axes, sizes"


@pytest.mark.parametrize(
    ("pass_class", "text", "column", "sentence"),
    [
        (Fold, "fold", 1, "fold: option microbatches (int) is missing; write fold{microbatches=...}"),
        (
            Fold,
            "fold{microbatch=8}",
            6,
            f"fold has no option 'microbatch'; did you mean 'microbatches'? {OPTIONS}",
        ),
        (
            Fold,
            "fold{max_iterations=8}",
            6,
            f"fold has no option 'max_iterations'; did you mean 'max-iterations'? {OPTIONS}",
        ),
        (Fold, "fold{hidden=8}", 6, f"fold has no option 'hidden'; {OPTIONS}"),
        (Plain, "plain{x=8}", 7, "plain has no option 'x'; there are none"),
        (Fold, "fold{microbatches=eight}", 19, "fold: option microbatches takes int, not 'eight'"),
        (Fold, "fold{microbatches=1.5}", 19, "fold: option microbatches takes int, not '1.5'"),
        (Fold, "fold{microbatches=[1]}", 19, "fold: option microbatches takes int, not [1]"),
        (Fold, "fold{microbatches=8 rate=nan}", 26, "fold: option rate takes float, not 'nan'"),
        (Fold, "fold{microbatches=8 rate=much}", 26, "fold: option rate takes float, not 'much'"),
        (Fold, "fold{microbatches=8 top-down=True}", 30, "fold: option top-down takes bool, not 'True'"),
        (Fold, "fold{microbatches=8 mode=big}", 26, "fold: option mode takes fast|small, not 'big'"),
        (Fold, "fold{microbatches=8 limit=none}", 27, "fold: option limit takes int, not 'none'"),
        (Fold, "fold{microbatches=8 axes=a}", 26, "fold: option axes takes [str, ...], not 'a'"),
        (Fold, "fold{microbatches=8 sizes=[1, a]}", 27, "fold: option sizes takes [int, ...], not [1, a]"),
        (Picky, "picky{value=2}", 1, "picky: 2 is odd"),
        (Picky, "picky{value=3}", 1, "picky: 3 is even; take 4"),
    ],
)
def test_a_fault_in_the_options(pass_class, text, column, sentence):
    with pytest.raises(UsageError) as caught:
        read(pass_class, text)
    assert (
        caught.value.message == f"pass pipeline, line 1, column {column}: {sentence}\n  {text}\n  {' ' * (column - 1)}^"
    )


def test_a_type_that_no_option_can_have_is_a_defect_of_the_pass():
    @dataclass(frozen=True)
    class Wrong:
        table: dict[str, int]

    with pytest.raises(TypeError, match=r"a pass's option cannot have type dict"):
        describe_options(Wrong)


folds = st.builds(
    Fold,
    microbatches=st.integers(),
    max_iterations=st.integers(),
    rate=st.floats(allow_nan=False, allow_infinity=False),
    top_down=st.booleans(),
    mode=st.sampled_from(["fast", "small"]),
    name=st.text(max_size=5),
    limit=st.none() | st.integers(),
    axes=st.lists(st.text(max_size=4), max_size=3).map(tuple),
    sizes=st.lists(st.integers(), max_size=3).map(tuple),
)


@given(folds)
@settings(max_examples=100, deadline=None)
def test_a_pass_survives_its_text(value):
    assert read(Fold, str(pass_text(value, "fold"))) == value
