"""What a trace says of a task: where in the program it stands."""

import json
from types import SimpleNamespace

import pytest
from atoll.runtime.program import Buffer, Code, Input, IslandProgram, Program, Run
from atoll.runtime.trace import Trace

pytestmark = pytest.mark.own

F32 = Buffer((2,), "float32")


@pytest.mark.parametrize(
    ("task", "kind", "position"),
    [
        ("F3@1", "F", {"microbatch": 3, "stage": "1"}),
        ("L0.F3@1", "F", {"loop": 0, "microbatch": 3, "stage": "1"}),
        ("F3@1.2", "F", {"microbatch": 3, "stage": "1"}),
        ("L0.I1", "I", {"loop": 0, "stage": "1"}),
        ("U0.1", "U", {"stage": "0"}),
        ("R3@1", "R", {"microbatch": 3}),
        ("R1", "R", {}),
        ("X0.add", "X", {}),
    ],
)
def test_where_a_task_stands(task, kind, position):
    island = IslandProgram("a", (), (F32, F32), (Run(task, 0, (0,), (1,)),))
    given = Input("x", (2,), "float32", places=((("a", 0),),))
    trace = Trace(Program((island,), (Code("f", b"", (F32,)),), (given,), ()))
    value = SimpleNamespace(block_until_ready=lambda: None)
    trace.carry_out(
        island, 0, lambda _: None, SimpleNamespace(step=SimpleNamespace(number=1), values={0: value, 1: value})
    )
    (found,) = (one for one in json.loads(trace.to_json())["traceEvents"] if one["name"] == task)
    assert found["cat"] == kind
    assert {name: found["args"][name] for name in ("loop", "microbatch", "stage") if name in found["args"]} == position
