"""What a plan means that leaves parts open, and where that is decided."""

from pathlib import Path

import pytest
from atoll.compiler.errors import PlanError
from atoll.compiler.mlir.bindings import ir
from atoll.compiler.mlir.ir_text import parse_text
from atoll.compiler.module.marks import PLAN, TOPOLOGY
from atoll.compiler.module.planned import asked_plan_of, plan_of, set_plan
from atoll.compiler.pipeline.resume import write_texts
from atoll.compiler.plan.plan import Plan
from atoll.compiler.plan.resolved_plan import resolved
from atoll.compiler.schedules.kinds import schedule
from atoll.compiler.topology.topology import Topology

ROOT = Path(__file__).resolve().parent.parent.parent
OPEN = "stages=auto, microbatches=auto, schedule=auto, replicas=auto"


def module_with(plan, topology="4 x cpu[1]"):
    module = parse_text("module {}")
    with module.context:
        module.operation.attributes[TOPOLOGY] = ir.StringAttr.get(topology)
        module.operation.attributes[PLAN] = ir.StringAttr.get(plan)
        set_plan(module, plan_of(module))
    return module


def edited(module, old, new):
    text = str(module)
    assert text.count(old) == 1
    return parse_text(text.replace(old, new))


@pytest.mark.parametrize(
    "plan",
    [
        Plan(),
        Plan(stages="a | b", schedule="zb-v"),
        Plan(schedule=schedule("1f1b", islands=2, microbatches=3)),
        Plan(placement={"a": "island0"}),
        Plan(replicas=2, update="sharded"),
    ],
)
def test_what_is_decided_stays_decided(plan):
    once = resolved(plan, 4)
    assert resolved(once, 4) == once == resolved(Plan.parse(str(once)), 8)


def test_without_a_topology_the_stages_stay_open():
    assert resolved(Plan(), None).stage_count is None
    assert resolved(Plan(schedule=schedule("1f1b", islands=2, microbatches=3)), None).stage_count == 2


def test_more_stages_than_a_plan_may_have_are_refused():
    with pytest.raises(PlanError) as caught:
        resolved(Plan(schedule="looped-bfs(64)"), 65)
    assert "the plan leaves the stages open, and 65 islands with 64 each have 4160" in str(caught.value)
    assert "test_resolved_plan.py" in caught.value.where
    assert caught.value.remedy == "write how many there are: at most 4096"


def test_the_plan_that_was_asked_for_is_told():
    assert str(asked_plan_of(module_with(OPEN))) == OPEN
    assert str(asked_plan_of(module_with("schedule=zb-v"))) == OPEN.replace("schedule=auto", "schedule=zb-v")


def test_what_was_edited_is_no_longer_open():
    again = edited(module_with(OPEN), "microbatches=1,", "microbatches=2,")
    assert str(asked_plan_of(again)) == OPEN.replace("microbatches=auto", "microbatches=2")


@pytest.mark.parametrize(("segments", "told"), [(1, OPEN), (4, f"{OPEN}, segments=4")])
def test_segments_are_told_where_there_are_several(segments, told):
    module = module_with("replicas=2")
    with module.context:
        set_plan(module, resolved(Plan(stages=2, microbatches=1, replicas=2, segments=segments), 4))
    assert str(asked_plan_of(module)) == told.replace("replicas=auto", "replicas=2")


def test_a_note_that_is_none_says_nothing():
    again = edited(module_with("stages=2"), "atoll.filled = {", "atoll.filled = 3 : i32, atoll.mine = {")
    assert asked_plan_of(again).microbatches == 1


def test_other_islands_have_another_answer():
    module = module_with("microbatches=2")
    assert plan_of(module).stages == 4
    write_texts(module, Topology.parse("3 x cpu[1]"), None)
    assert (plan_of(module).stages, plan_of(module).microbatches) == (3, 2)


def test_a_new_plan_is_told_as_it_was_given():
    module = module_with(OPEN)
    write_texts(module, None, Plan(stages=4, microbatches=1))
    assert asked_plan_of(module) == Plan(stages=4, microbatches=1)


def test_no_pass_and_no_report_asks_what_auto_means():
    """It is a word of the plan's; who reads a plan asks for what was decided, or whether something is open yet."""
    asking = [
        file.relative_to(ROOT).as_posix()
        for folder in ("compiler", "passes", "runtime")
        for file in (ROOT / folder).rglob("*.py")
        if "import AUTO" in (text := file.read_text()) or '== "auto"' in text
    ]
    assert asking == ["compiler/plan/resolved_plan.py"]
