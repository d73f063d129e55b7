"""State machines under random events: how many sequences of them a run tries, and who makes them."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

_LONGEST = 6 * 3600  # seconds that 100,000 sequences may take, on cores that others use too


def pytest_generate_tests(metafunc):
    """For a test module that imports it: `sequences` is how many a test tries, `few_sequences` if each takes long."""
    for name, count in (("sequences", 2_000), ("few_sequences", 100)):
        if name in metafunc.fixturenames:
            many = pytest.param(100_000, marks=pytest.mark.timeout(_LONGEST))
            metafunc.parametrize(name, [many if metafunc.config.getoption("full") else count])


def under_random_events(check, sequences, *strategies):
    """Calls `check` with many sources of random choices, and with what strategies make, which hypothesis shrinks."""
    tried = given(st.tuples(st.integers(0, 2**32), *strategies))(lambda made: check(random.Random(made[0]), *made[1:]))
    settings(max_examples=sequences, deadline=None, database=None)(tried)()
