"""The examples of train steps give what `jax.jit` gives, leaf by leaf, and what their pages say of them is so."""

import functools

import jax
import jax.numpy as jnp
import pytest
import zoo
from atoll.compiler.module.notes import SeveralLoops
from atoll.examples.equinox import train as equinox
from atoll.examples.experts import train as experts
from atoll.examples.linen import train as linen
from atoll.examples.lora import train as lora
from atoll.examples.nnx import train as nnx
from atoll.examples.resnet import train as resnet
from filled import filled
from microbatched import compiled_by_xla, error_of, evaluated  # noqa: F401 (fixtures)
from references import reference

import atoll

STEPS = 3


def beginning(init):
    """What an initialiser gives, computed as references are."""
    return reference(init)


def state_of(example):
    return beginning(lambda: example.init_state(jax.random.key(0)))


CASES = {
    "linen": (linen, linen.PLAN, lambda: (state_of(linen),)),
    "nnx": (nnx, nnx.PLAN, lambda: (beginning(lambda: nnx.nnx.state(nnx.create())),)),
    "equinox": (equinox, equinox.PLAN, lambda: (state_of(equinox),)),
    "resnet, replicas": (resnet, resnet.REPLICAS, lambda: (state_of(resnet),)),
    "resnet, stages": (resnet, resnet.STAGES, lambda: (state_of(resnet),)),
    "experts": (experts, experts.PLAN, lambda: (state_of(experts),)),
    "lora": (lora, lora.PLAN, lambda: (filled(lora.STATE), filled(lora.FROZEN))),
}


def batch_of(example, number):
    found = example.batch(number)
    return found if isinstance(found, tuple) else (found,)


@functools.cache
def lowered(name):
    example, plan, _ = CASES[name]
    return atoll.lower(example.job, topology=example.TOPOLOGY, plan=plan)


@pytest.mark.one_in(2)
@pytest.mark.parametrize("name", CASES)
def test_steps_are_those_of_jit(name):
    example, _, begin = CASES[name]
    state, *rest = begin()
    expected = state
    with lowered(name).compile_here() as step:
        for number in range(STEPS):
            batch = batch_of(example, number)
            state, *told = step(jax.tree.map(jnp.copy, state) if number == 0 else state, *rest, *batch)
            expected, *by_jit = reference(example.job.fn, expected, *rest, *batch)
            assert jax.tree.structure(state) == jax.tree.structure(expected)
            assert error_of(zoo.leaves((state, told)), zoo.leaves((expected, by_jit))) < 1e-4, f"step {number}"


# What the pages say.


def tasks(name):
    return {island.name: " ".join(island.tasks) for island in lowered(name).report().islands}


def cost(name):
    [cost] = [note.fact for note in lowered(name).report().notes if isinstance(note.fact, SeveralLoops)]
    return cost.loops, cost.again, cost.whole, cost.bytes


def test_a_frozen_layer_has_no_backward_task():
    assert "B" not in tasks("lora")["island0"]
    assert "B1" in tasks("lora")["island1"]


@pytest.mark.parametrize(("name", "replicas"), [("resnet, stages", 1), ("resnet, replicas", 2)])
def test_batch_statistics_keep_what_the_page_says(name, replicas):
    assert cost(name) == (9, 0, 0, 232 * 1024 // replicas)
    assert "operations for one microbatch, in the last of 9 loops" in str(lowered(name).report())


def test_balance_does_again_what_the_page_says():
    # No sort is done for the whole batch: each microbatch sorts its own tokens.
    assert cost("experts") == (2, 1, 0, 124 * 1024)
