"""The comparison of what was compiled for two pods with what is published; `make palm-540b` compiles."""

from types import SimpleNamespace

import pytest
from atoll.examples.palm.pods import comparison
from atoll.examples.palm.sizes import PALM_540B, parameter_count


def report_of(flops, gradients):
    """What of a report is compared: a chip's operations in a step, and the bytes that cross."""
    return SimpleNamespace(chips=[SimpleNamespace(flops=flops)] * 2, exchanges=[SimpleNamespace(bytes=gradients)])


GRADIENTS = 2 * parameter_count(PALM_540B)  # in bfloat16


def test_what_is_as_published():
    rows = comparison(report_of(2.7885e15, GRADIENTS))
    assert [f"{row.found:.4g}" for row in rows] == ["5.404e+11", "0.4623", "0.5761", "0.5761", "1.407e+09"]
    assert all(row.is_right for row in rows)


@pytest.mark.parametrize(("flops", "gradients"), [(2.7e15, GRADIENTS), (2.7885e15, 2 * GRADIENTS)])
def test_what_is_not(flops, gradients):
    wrong = [row for row in comparison(report_of(flops, gradients)) if not row.is_right]
    assert len(wrong) == 1
    assert "differs by more than" in str(wrong[0])
