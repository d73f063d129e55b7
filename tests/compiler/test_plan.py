"""Plans: fields, their text, and what is refused."""

import numpy
import pytest
from atoll.compiler.errors import PlanError
from atoll.compiler.plan.plan import Plan
from atoll.compiler.schedules.kinds import SCHEDULE_KINDS, schedule
from atoll.compiler.schedules.schedule import Schedule
from hypothesis import given, settings
from hypothesis import strategies as st
from told import told

pytestmark = pytest.mark.own

OWN = "schedule own: 2 islands, 1 microbatch; island 0: F0 B0; island 1: F0 B0"


@pytest.mark.parametrize(
    ("text", "plan"),
    [
        ("", Plan()),
        ("stages=2, microbatches=8, schedule=1f1b, replicas=1", Plan(2, 8, "1f1b", 1)),
        ("replicas = 3 ,\n stages = auto", Plan(replicas=3)),
        ('stages="embed, layer_[0..5] | head"', Plan(stages="embed, layer_[0..5] | head")),
        ("schedule=Interleaved-1F1B(2)", Plan(schedule="interleaved-1f1b(2)")),
        ('schedule="looped-bfs"', Plan(schedule="looped-bfs")),
        (f'stages=2, schedule="{OWN}"', Plan(stages=2, schedule=Schedule.parse(OWN))),
        ("schedule=zb-h2", Plan(schedule="ZB-H2")),
        ("update=sharded", Plan(update="sharded")),
        ("update=auto", Plan()),
        ("update=whole", Plan(update="whole")),
        ("offload=auto", Plan()),
        ('offload=""', Plan(offload="")),
        ("extra=20", Plan(extra=20)),
        ('extra="20%"', Plan(extra=20)),
        ('extra="20 %, 1.5 GB"', Plan(extra="20%, 1500 MB")),
        ('extra="2 GiB"', Plan(extra="50%, 2GiB")),
        ('extra="50%"', Plan()),
        ('extra="0%"', Plan(extra=0)),
        ('extra="0%, 0 MB"', Plan(extra=0)),
        ('extra="20%, 0 MB"', Plan(extra="20%, 0 B")),
        ('placement={"a": "left", "b": "right"}', Plan(placement={"a": "left", "b": "right"})),
    ],
)
def test_a_text_has_a_value(text, plan):
    assert Plan.parse(text) == plan
    assert Plan.parse(str(plan)) == plan
    assert hash(Plan.parse(text)) == hash(plan)


@pytest.mark.parametrize(
    ("plan", "text"),
    [
        (Plan(), "stages=auto, microbatches=auto, schedule=auto, replicas=auto"),
        (Plan(numpy.int64(2), 8, "1F1B", 1), "stages=2, microbatches=8, schedule=1f1b, replicas=1"),
        (
            Plan(" a|b ", schedule="Looped-BFS( 3 )"),
            'stages="a | b", microbatches=auto, schedule=looped-bfs(3), replicas=auto',
        ),
        (
            Plan(schedule=schedule("gpipe", 1, 1)),
            "stages=auto, microbatches=auto, "
            'schedule="schedule gpipe: 1 island, 1 microbatch; island 0: F0 B0", replicas=auto',
        ),
        (Plan(schedule="looped-bfs"), "stages=auto, microbatches=auto, schedule=looped-bfs(2), replicas=auto"),
        (
            Plan(placement={"a/ b": "left"}),
            'stages=auto, microbatches=auto, schedule=auto, replicas=auto, placement={"a/b": "left"}',
        ),
        (
            Plan(replicas=2, update="sharded"),
            "stages=auto, microbatches=auto, schedule=auto, replicas=2, update=sharded",
        ),
    ],
)
def test_the_canonical_text(plan, text):
    assert str(plan) == text


FIELDS = (
    "known are stages, microbatches, schedule, replicas, placement, accumulator, segments, update, extra, "
    "offload, per_microbatch"
)
EXTRAS = 'write them as in "20%, 2 GB"; units are B kB KiB MB MiB GB GiB TB TiB'
SCHEDULE_NAMES = "known are " + ", ".join(SCHEDULE_KINDS)
LEAST = "it must be at least 1"


@pytest.mark.parametrize(
    ("text", "column", "sentence"),
    [
        ("stage=2", 1, f"a plan has no field 'stage'; did you mean 'stages'? {FIELDS}"),
        ("stages=2, stages=3", 11, "stages is there twice; write each field once"),
        ("replicas=1, stages=0", 20, f"stages is too small; {LEAST}"),
        ("microbatches=-8", 14, f"microbatches is too small; {LEAST}"),
        ("microbatches=" + "9" * 40, 14, "the number has 40 digits; write at most 30"),
        ('microbatches="8"', 14, "microbatches takes a whole number or auto, not '8'"),
        ('replicas={"a": "b"}', 10, "replicas must be a whole number, not dict"),
        ("extra=-1", 7, "extra is too small; it must be at least 0"),
        ("extra=auto", 7, f"extra takes percent of the work, bytes that are kept, or both, not 'auto'; {EXTRAS}"),
        ('extra="2 gb"', 7, f"extra takes percent of the work, bytes that are kept, or both, not '2 gb'; {EXTRAS}"),
        (
            'extra="2 GB, 20%"',
            7,
            f"extra takes percent of the work, bytes that are kept, or both, not '2 GB, 20%'; {EXTRAS}",
        ),
        ('extra="20%, 1.5 B"', 7, "extra: 1.5 B is not a whole number of B"),
        ("schedule=3", 10, "schedule takes the name of a schedule or auto, not int"),
        ("schedule=1f1", 10, f"unknown schedule '1f1'; did you mean '1f1b'? {SCHEDULE_NAMES}"),
        ("schedule=auto(2)", 10, f"unknown schedule 'auto(2)'; {SCHEDULE_NAMES}"),
        (
            "schedule=gpipe(2)",
            10,
            "schedule gpipe takes no chunks; those that do are interleaved-1f1b, looped-bfs, interleaved-zb",
        ),
        (
            f'microbatches=2, schedule="{OWN}"',
            1,
            "microbatches is 2, and schedule own has 1; leave microbatches out, or write 1",
        ),
        (f'stages=3, schedule="{OWN}"', 1, "stages is 3, and schedule own has 2; leave stages out, or write 2"),
        ("schedule=looped-bfs(0)", 10, f"the number of chunks is too small; {LEAST}"),
        (
            "stages=atuo",
            8,
            "stages takes a whole number, auto or a stage text, not 'atuo'; write a stage text in double quotes",
        ),
        ("stages=a|b", 9, "unexpected '|'; expected one of: '(', ',', the end of the text"),
        (
            "stages=",
            8,
            "unexpected end of the text; expected one of: '{', a string in double quotes, a whole number, a word",
        ),
        ("stages=2,", 10, "unexpected end of the text; expected a word"),
        ('stages="\\q"', 9, "bad string: Invalid \\escape; strings are written as in JSON"),
        ("placement=left", 11, "placement takes a dict from scope patterns to islands, not 'left'"),
        ("placement={}", 11, "the placement is empty; leave it out, or name an island for a scope pattern"),
        ('placement={"a": ""}', 11, "'a' is placed on ''; write the name of an island"),
        ('placement={"a": "l", "a": "r"}', 22, "the pattern 'a' is placed twice; place each scope on one island"),
        ('placement={"a": "l", " a": "r"}', 11, "the pattern 'a' is placed twice; place each scope on one island"),
        (
            'stages=2, placement={"a": "l"}',
            1,
            "stages and placement are both given; a placement stands instead of stages",
        ),
    ],
)
def test_a_fault_in_a_text(text, column, sentence):
    with pytest.raises(PlanError) as caught:
        Plan.parse(text)
    assert caught.value.message == f"plan text, line 1, column {column}: {sentence}\n  {text}\n  {' ' * (column - 1)}^"


@pytest.mark.parametrize("text", ['stages="a||b"', 'placement={"a||b": "left"}'])
def test_a_fault_of_a_stage_text_shows_the_stage_text(text):
    with pytest.raises(PlanError) as caught:
        Plan.parse(text)
    remedy = "expected one of: a name in double quotes, a scope's name"
    assert caught.value.message == f"stage text, line 1, column 3: unexpected '|'; {remedy}\n  a||b\n    ^"


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"stages": True}, "stages must be a whole number, not bool"),
        ({"stages": 2.0}, "stages must be a whole number, not float"),
        ({"stages": numpy.ones(2, int)}, "stages must be a whole number, not ndarray"),
        ({"stages": None}, "stages must be a whole number, not NoneType"),
        ({"microbatches": 10**5000}, "microbatches is too large; it must be at most 1000000"),
        ({"microbatches": 10**15}, "microbatches is too large; it must be at most 1000000"),
        ({"replicas": 10**5000}, "replicas is too large; it must be at most 9223372036854775807"),
        ({"stages": 10**9}, "stages is too large; it must be at most 4096"),
        ({"schedule": "looped-bfs(4097)"}, "the number of chunks is too large; it must be at most 4096"),
        ({"schedule": f"interleaved-1f1b({10**15})"}, "the number of chunks is too large; it must be at most 4096"),
        ({"segments": 10**9}, "segments is too large; it must be at most 1000"),
        (
            {"placement": {"a": "left"}, "segments": 2},
            "a placement and segments=2 are both given; leave segments out: ",
        ),
        ({"replicas": "two"}, "replicas takes a whole number or auto, not 'two'"),
        (
            {"update": "sharded", "placement": {"a": "b"}},
            "a placement and update=sharded are both given; leave update out: only pipelines have replicas",
        ),
        ({"update": True}, "update takes whole, sharded or auto, not bool"),
        ({"schedule": None}, "schedule takes the name of a schedule or auto, not NoneType"),
        ({"placement": [("a", "b")]}, "placement takes a dict from scope patterns to islands, not list"),
        ({"placement": {"a": 3}}, "'a' is placed on '3'; write the name of an island"),
        ({"placement": {3: "a"}}, "stage text must be a string, not int"),
        ({"stages": "a", "placement": {"a": "b"}}, "stages and placement are both given; a placement stands"),
        (
            {"replicas": 2, "placement": {"a": "b"}},
            "a placement and replicas=2 are both given; leave replicas out: only pipelines are copied",
        ),
        (
            {"schedule": "1f1b", "placement": {"a": "b"}},
            "a schedule and a placement are both given; leave the schedule",
        ),
    ],
)
def test_a_fault_in_a_value(fields, sentence):
    with pytest.raises(PlanError) as caught:
        Plan(**fields)
    assert told(caught.value).startswith(sentence)


def test_a_fault_of_a_schedule_shows_its_place_in_the_table():
    with pytest.raises(PlanError) as caught:
        Plan.parse(f'schedule="{OWN}"'.replace("F0 B0", "F0", 1))
    assert str(caught.value).startswith("schedule own, island 0: B0 is missing; ")


def test_a_plan_keeps_its_own_placement():
    placement = {"a": "left"}
    plan = Plan(placement=placement)
    placement["a"] = "right"
    assert plan.placement == {"a": "left"}


stage_counts = st.just("auto") | st.integers(1, 4096)
microbatch_counts = st.just("auto") | st.integers(1, 10**6)
replica_counts = st.just("auto") | st.integers(1, 2**40)
schedules = st.just("auto") | st.sampled_from(
    [
        *SCHEDULE_KINDS,
        *(f"{name}({chunks})" for name, kind in SCHEDULE_KINDS.items() if kind.free_chunks for chunks in (1, 2, 16)),
    ]
)
texts = st.sampled_from(["a", "embed, layer_[0..5] | head", '"x \\"y\\"" | b/c'])
placements = st.dictionaries(texts.filter(lambda text: "|" not in text), st.text(min_size=1), min_size=1)
plans = st.builds(Plan, stage_counts | texts, microbatch_counts, schedules, replica_counts) | st.builds(
    Plan, st.just("auto"), microbatch_counts, st.just("auto"), st.sampled_from(["auto", 1]), placements
)


@given(plans)
@settings(max_examples=80, deadline=None)
def test_a_value_survives_its_text(plan):
    assert Plan.parse(str(plan)) == plan
