"""What is checked of every layered model: the same answer as `jax.jit`, and parts and traffic as its data say."""

import functools
import re
from collections import Counter
from itertools import pairwise

import jax
import numpy
import pytest
import zoo
from atoll.compiler.errors import CompileError
from layered import MODELS
from microbatched import error_of
from references import reference

import atoll

# What may cross beside what is worked out: losses, norms, flags and keys, for every microbatch and link.
SCALARS = 64


@functools.cache
def model_named(name):
    return MODELS[name]()


def check(name, count, microbatches, *, steps=2, **options):
    """A model on islands, for some steps: each gives what `jax.jit` gives from the same state."""
    model = model_named(name)
    if microbatches > 1 and not model.case.batch:
        microbatches = 1
    if microbatches > 1 and model.mixes:
        with pytest.raises(CompileError, match=rf"layered\w*\.py:\d+: pass fold-batch: {model.mixes} "):
            compiled(model, count, microbatches, **options)
        return
    with compiled(model, count, microbatches, **options) as step:
        check_steps(step, model, steps)
        if not (microbatches > 1 and model.is_written_out):
            check_balanced(step, model, count)
            check_traffic(step, model, count, microbatches)


def compiled(model, count, microbatches, *, topology=None, plan=None, **options):
    case = model.case
    return atoll.compile(
        case.fn,
        *case.args,
        topology=topology or f"{count} x cpu[1]",
        batch_argnums=case.batch,
        donate_argnums=case.donate,
        plan=plan or plan_of(model, count, microbatches),
        **options,
    )


def plan_of(model, count, microbatches):
    """With a schedule, since to search for one takes longer than all passes."""
    return atoll.Plan(stages=stage_text(model, count) or count, microbatches=microbatches, schedule="1f1b")


def check_steps(step, model, steps, also=lambda results: None, fn=None):
    """Every step from the same state; that of the next is what the step gave, still on its islands.

    also: a check of what a step gave.
    fn: what `jax.jit` is given, if not the model's function.
    """
    case = model.case
    fed, arguments = len(case.donate), zoo.arguments_of(case)
    for _ in range(steps if fed else 1):
        given = jax.tree.map(readable, arguments)
        results, expected = step(*arguments), reference(fn or case.fn, *given)
        assert jax.tree.structure(results) == jax.tree.structure(expected)
        check_results(results, expected, model.state_tolerance if fed else model.tolerance)
        also(results)
        check_results(results[fed:], expected[fed:], model.tolerance)
        assert step.stats().bytes_per_link == reported(step)
        assert all(leaf.is_deleted() for leaf in jax.tree.leaves(arguments[:fed]))
        arguments = [*results[:fed], *case.args[fed:]]


def check_results(results, expected, tolerance):
    leaves = list(zoo.leaves(expected))
    assert all(numpy.isfinite(leaf).all() for leaf in leaves if leaf.dtype.kind == "f"), "the model is of no use"
    assert error_of(zoo.leaves(results), leaves) < tolerance


def readable(leaf):
    """What `jax.jit` takes; a copy, as the step is about to take the leaf over."""
    return leaf.to_jax() if isinstance(leaf, atoll.Array) else leaf.copy()


def reported(step):
    """The bytes on each link by the report, which are those of every step: a state that is fed back moves no byte."""
    return {(one.source, one.target): one.bytes for one in step.report().links}


# Where layers are to be.


def layers_of(model):
    """Loops and numbers of all layers, in the order of the flow; none if a loop stays whole, or there is none."""
    if any(loop.whole for loop in model.loops):
        return []
    return [(loop.scope, number) for loop in model.loops for number in range(loop.layers)]


def stages_of(model, count):
    """The layers of each stage: stretches of the flow, as even as can be; none if there are too few."""
    layers = layers_of(model)
    bounds = [round(len(layers) * stage / count) for stage in range(count + 1)]
    return [layers[first:last] for first, last in pairwise(bounds)] if len(layers) >= count else []


def stage_text(model, count):
    """Every stage as a plan names it: a scope is with the loop behind it, or with the last layer."""
    stages, text = stages_of(model, count), [[] for _ in range(count)]
    scopes, at = [], 0
    for one in model.flow if stages else ():
        if isinstance(one, str):
            scopes.append(one)
            continue
        for stage, own in enumerate(stages):
            numbers = [number for scope, number in own if scope == one.scope]
            if numbers:
                text[stage] += [*scopes, f"{one.scope}[{numbers[0]}..{numbers[-1]}]"]
                scopes, at = [], stage
    text[at] += scopes
    return " | ".join(map(", ".join, text)) if stages else ""


def shares(model, count, scope):
    """How many iterations of a loop each island has."""
    return [sum(one == scope for one, _ in stage) for stage in stages_of(model, count)]


def check_balanced(step, model, count):
    """Of each stack every island holds the layers that it goes over, and nothing else."""
    if stages_of(model, count):
        check_shares(step, model, {loop.scope: shares(model, count, loop.scope) for loop in model.loops})


def check_shares(step, model, iterations):
    """The same, for loops of which it is said how many iterations each island has."""
    islands = [island.name for island in step.program.islands]
    loops = {loop.scope: loop for loop in model.loops}
    for stack in model.stacks:
        layers = [own * stack.size // loops[stack.loop].layers for own in iterations[stack.loop]]
        expected = [(island, own) for island, own in zip(islands, layers, strict=True) if own]
        found = list(stacked(step, stack))
        assert found, f"nothing is stacked at {stack.path}"
        for path, parts in found:
            assert parts == (expected[::-1] if stack.backward else expected), path


def stacked(step, stack):
    """The arguments and results of a stack, each with its islands and how many layers each of them has."""
    program = step.program
    for one in (*program.inputs, *program.outputs):
        is_stacked = len(one.shape) > stack.axis and one.shape[stack.axis] == stack.size
        if is_stacked and re.search(stack.path, one.path) and one.places:
            sizes = {}
            for place in (copies[0] for copies in one.places):
                sizes.setdefault(place[0], []).append(program.buffer(place).shape[stack.axis])
            # Parts along another dimension are those of microbatches, each of which has all layers of its island.
            add = sum if program.division(one).dimensions == (stack.axis,) else max
            yield one.path, [(island, add(own)) for island, own in sizes.items()]


def check_traffic(step, model, count, microbatches):
    """What crosses is what is worked out, and scalars."""
    if model.traffic is None or count > model.traffic.up_to or not stages_of(model, count):
        return
    islands = [island.name for island in step.program.islands]
    expected, sent = expected_links(model.traffic, islands), step.stats().bytes_per_link
    for link in {*expected, *sent}:
        beside = sent.get(link, 0) - expected[link]
        assert 0 <= beside <= SCALARS * microbatches, f"{link}: {sent.get(link, 0)} bytes, not {expected[link]}"


def expected_links(traffic, islands):
    """The bytes on every link."""
    links = Counter()
    for one, other in pairwise(islands):
        links[one, other] += traffic.forward
        links[other, one] += traffic.backward
    links[islands[0], islands[-1]] += traffic.ends_forward
    links[islands[-1], islands[0]] += traffic.ends_backward
    return links
