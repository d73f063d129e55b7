"""The table of the smaller models on slices: what it is made of, and with `--full` and libtpu the rows themselves."""

import importlib.util

import jax
import pytest
from atoll.compiler.topology.slices import mesh_of_slice
from atoll.examples.palm.slices import CASES, row

import atoll

needs_libtpu = pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="libtpu is not installed")


@needs_libtpu
@pytest.mark.parametrize("name", CASES)
def test_every_slice_is_one_that_there_is(name):
    """libtpu knows it, and its axes are those over which the models are divided."""
    for island in atoll.topology(CASES[name].topology).islands:
        assert dict(mesh_of_slice(island).shape).keys() == {"data", "model"}


def test_a_plan_that_does_not_fit_is_a_row_too(monkeypatch):
    def lower(*_, **__):
        raise atoll.PlanError("each device of island island0 has 15.8 GiB, and F0 alone needs 84.8 GiB")

    monkeypatch.setattr(atoll, "lower", lower)
    found = row(CASES["62b-small"])
    assert found.startswith("| 62B | `2 x v5e[4x4](data=2, model=8)` | does not fit | each device of island")


@pytest.mark.parametrize(("chosen", "found"), [("UNKNOWN", "O1"), ("O3", "O3")])
def test_the_compiler_does_less_unless_somebody_says_how_much(chosen, found, monkeypatch):
    levels, before = [], jax.config.jax_optimization_level

    def lower(*_, **__):
        levels.append(jax.config.jax_optimization_level)
        raise atoll.PlanError("it does not fit")

    monkeypatch.setattr(atoll, "lower", lower)
    jax.config.update("jax_optimization_level", chosen)
    try:
        row(CASES["62b-small"])
        assert levels == [found]
        assert jax.config.jax_optimization_level == chosen
    finally:
        jax.config.update("jax_optimization_level", before)


@needs_libtpu
@pytest.mark.parametrize("name", CASES)
@pytest.mark.timeout(3600)
def test_rows_of_the_table(name, request):
    """Minutes each."""
    if not request.config.getoption("full"):
        pytest.skip("compiling a model takes minutes: --full")
    assert ("does not fit" in row(CASES[name])) == (name == "62b-small")
