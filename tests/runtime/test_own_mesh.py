"""With how many threads XLA computes in the process of an island."""

import os

import pytest
from atoll.runtime.processes.own_mesh import threads_of


@pytest.mark.parametrize(
    ("told", "cores", "least", "expected"),
    [
        ("", 2, 8, 8),  # as many as one process has that has the devices of all islands
        ("", 16, 8, 16),
        ("4", 16, 8, 8),
        ("12", 2, 8, 12),  # as the user says
        ("a few", 2, 1, 2),
    ],
)
def test_they_are_as_many_as_in_one_process(told, cores, least, expected, monkeypatch):
    monkeypatch.setenv("NPROC", told)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)))
    assert threads_of(least) == expected
