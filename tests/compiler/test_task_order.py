"""The table of tasks that a loop over microbatches carries."""

import pytest
from atoll.compiler.module.task_order import MicrobatchTask


@pytest.mark.parametrize(("task", "text"), [("F0", "F3@0"), ("W12", "W3@12"), ("U0.1", "U3@0.1")])
def test_a_task_is_written_as_in_the_table_of_a_schedule(task, text):
    assert str(MicrobatchTask(task, 3)) == text
