"""The schedule that stands on a loop over microbatches."""

import pytest
from atoll.compiler.mlir.bindings import mpmd
from atoll.compiler.mlir.functions import operations_in
from atoll.compiler.mlir.ir_text import parse_text
from atoll.compiler.module.loop_schedule import schedule_of
from atoll.compiler.module.main_function import entry_function
from atoll.compiler.module.task_order import order_of
from atoll.compiler.pipeline.pass_manager import run_passes
from atoll.compiler.pipeline.registry import steps_of_text
from atoll.compiler.schedules.kinds import schedule
from atoll.compiler.schedules.schedule import Schedule

ON = [f'!mpmd.mesh_tensor<"island{island}", tensor<4xf32>>' for island in range(2)]
TOPOLOGY = 'attributes {topology = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>}'
# A stage each on two islands, of which the first one has no backward task.
MODULE = f"""
module attributes {{atoll.plan = "PLAN", atoll.stages = 2 : i32, atoll.topology = "2 x cpu[1]"}} {{
  func.func @main(%x: {ON[0]} {{atoll.parts = 3 : i32}}, %z: {ON[1]}) -> {ON[1]} {TOPOLOGY} {{
    %0 = mpmd.for (%z) {{atoll.role = "FB", iterations = 3 : ui32}} (%a: {ON[1]}, %i: tensor<ui32>) {{
      %1 = mpmd.call @microbatch(%a, %x) : ({ON[1]}, {ON[0]}) -> {ON[1]}
      mpmd.return %1 : {ON[1]}
    }} : {ON[1]}
    return %0 : {ON[1]}
  }}
  func.func private @microbatch(%a: {ON[1]}, %x: {ON[0]}) -> {ON[1]} {TOPOLOGY} {{
    %0 = mpmd.fragment_call<mesh="island0", origin=["F0"]> @f(%x) : ({ON[0]}) -> {ON[0]}
    %1 = mpmd.transfer %0 : ({ON[0]}) -> {ON[1]}
    %2 = mpmd.fragment_call<mesh="island1", origin=["F1"]> @f(%1) : ({ON[1]}) -> {ON[1]}
    %3 = mpmd.fragment_call<mesh="island1", origin=["B1"]> @g(%2, %a) : ({ON[1]}, {ON[1]}) -> {ON[1]}
    return %3 : {ON[1]}
  }}
  func.func private @f(%a: tensor<4xf32>) -> tensor<4xf32> attributes {{mesh_shape = #sdy.mesh<["devices"=1]>}} {{
    return %a : tensor<4xf32>
  }}
  func.func private @g(%a: tensor<4xf32>, %b: tensor<4xf32>) -> tensor<4xf32>
      attributes {{mesh_shape = #sdy.mesh<["devices"=1]>}} {{
    %0 = stablehlo.add %b, %a : tensor<4xf32>
    return %0 : tensor<4xf32>
  }}
}}
"""
BLOCKS = """schedule mine: 2 islands, 3 microbatches
island 0: F0 F1 B0 F2+B1 B2
island 1: F0+B0 F1 B1 F2+B2"""


def ordered(plan):
    """The module as text, with the plan's schedule on its loop."""
    module = parse_text(MODULE.replace("PLAN", f"microbatches=3, {plan}"))
    run_passes(module, steps_of_text("order-tasks"))
    return str(module)


def read(text):
    module = parse_text(text)
    (loop,) = operations_in(entry_function(module), mpmd.ForOp)
    return schedule_of(module, loop), order_of(loop)


def changed(text, old, new):
    assert text.count(old) == 1
    return text.replace(old, new)


@pytest.mark.parametrize("kind", ["1f1b", "gpipe"])
def test_a_schedule_is_read_as_it_was_written(kind):
    found, order = read(ordered(f"schedule={kind}"))
    assert found == schedule(kind, islands=2, microbatches=3)
    assert list(map(str, order["island0"])) == ["F0@0", "F1@0", "F2@0"]


def test_blocks_and_the_users_name_are_kept():
    text = BLOCKS.replace("\n", "; ")
    assert read(ordered(f'schedule=\\"{text}\\"'))[0] == Schedule.parse(BLOCKS)


def test_the_schedule_that_was_found_for_an_open_one_stands_there_too():
    found, _ = read(ordered("schedule=auto"))
    assert found.microbatches == 3
    assert found.name != "edited"


def test_blanks_are_no_edit():
    text = changed(ordered("schedule=1f1b"), "F0@1 B0@1", "F0@1   B0@1 ")
    assert read(text)[0].name == "1f1b"


def test_an_edited_table_has_another_name():
    text = changed(ordered("schedule=gpipe"), "B0@1 B1@1 B2@1", "B1@1+B0@1 B2@1")
    found, order = read(text)
    assert found.name == "edited"
    assert [str(task) for task in found.rows[1]] == ["F0@1", "F1@1", "F2@1", "B1@1", "B0@1", "B2@1"]
    assert [list(map(str, block)) for block in found.blocks[1][3:]] == [["B1@1", "B0@1"], ["B2@1"]]
    assert list(map(str, order["island1"])) == ["F0@1", "F1@1", "F2@1", "B1@1", "B0@1", "B2@1"]


def test_a_new_name_is_no_edit():
    text = changed(ordered("schedule=gpipe"), 'name = "gpipe"', 'name = "ours"')
    assert read(text)[0].name == "ours"


@pytest.mark.parametrize("beside", ['atoll.schedule = "gpipe"', "atoll.schedule = {name = 3 : i32}"])
def test_a_table_that_a_person_wrote_is_read_by_the_stages_of_the_plan(beside):
    text = ordered("schedule=gpipe")
    begin = text.index("atoll.schedule = {")
    text = text[:begin] + beside + text[text.index("}", begin) + 1 :]
    found, _ = read(text)
    assert (found.name, found.rows) == ("edited", schedule("gpipe", islands=2, microbatches=3).rows)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("B0@1 B1@1 B2@1", "B0@1 B1@1"),  # not each task
        ("F0@1 F1@1 F2@1 B0@1", "B0@1 F0@1 F1@1 F2@1"),  # waits for ever
        ("(B2@0)", "(U2@0)"),  # no task of a pipeline
        ('"FB"', '"FBFB"'),  # no schedule is for it
    ],
)
def test_what_is_no_schedule_is_none(old, new):
    assert read(changed(ordered("schedule=gpipe"), old, new))[0] is None
