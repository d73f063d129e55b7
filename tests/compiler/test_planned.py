"""Slots and sweeps; the number of stages."""

import pytest
from atoll.compiler.errors import CompileError
from atoll.compiler.mlir.bindings import ir
from atoll.compiler.mlir.ir_text import parse_text
from atoll.compiler.module.marks import PLAN, TOPOLOGY
from atoll.compiler.module.planned import shape_of
from atoll.compiler.module.slots import slot, sweep_from
from atoll.compiler.pipeline.resume import phase_of


@pytest.mark.parametrize("stages", [1, 2, 3, 7])
def test_slots_count_the_fragments_of_all_sweeps(stages):
    walk = [
        slot(stage, sweep, stages)
        for sweep in range(5)
        for stage in (range(stages) if sweep % 2 == 0 else reversed(range(stages)))
    ]
    assert walk == list(range(5 * stages))


@pytest.mark.parametrize("stages", [1, 2, 3, 7])
def test_the_first_sweep_from_a_slot_on(stages):
    for stage in range(stages):
        for least in range(4 * stages):
            expected = next(sweep for sweep in range(9) if slot(stage, sweep, stages) >= least)
            assert sweep_from(stage, least, stages) == expected


@pytest.mark.parametrize(
    ("plan", "stages"),
    [
        (None, 6),
        ("stages=4", 4),
        ('stages="a | b, c"', 2),
        ("replicas=2", 3),
        ("stages=auto, replicas=6", 1),
        ("replicas=7", 1),
        ('placement={"a": "island1"}', 6),
    ],
)
def test_the_number_of_stages(plan, stages):
    module = parse_text("func.func @main() { return }")
    with module.context:
        module.operation.attributes[TOPOLOGY] = ir.StringAttr.get("6 x cpu[1]")
        if plan is not None:
            module.operation.attributes[PLAN] = ir.StringAttr.get(plan)
    assert shape_of(module).stages == stages


def test_a_phase_that_is_no_text_is_not_taken_for_none():
    module = parse_text("module attributes {atoll.phase = 3 : i32} {}")
    with pytest.raises(CompileError, match=r'atoll\.phase is 3 : i32, which is no text; write atoll\.phase = "\.\.\."'):
        phase_of(module)
