"""What is kept from one sweep to the next is the least that moving cheap operations allows."""

import itertools
import random

import pytest
from atoll.compiler.mlir.ir_text import parse_text
from atoll.compiler.module.graph import ARGUMENT, Graph
from atoll.compiler.module.marking import read_marks
from atoll.compiler.module.marks import SWEEP
from atoll.passes.stage.keep_less import KeepLess

pytestmark = pytest.mark.own

MARKS = "{{atoll.stage = 0 : i32, atoll.sweep = {} : i32}}"
TYPES = ("f32", "f64", "bf16")


def program(seed):
    """Chains of conversions and products of an argument, of which some are used later and some are returned."""
    chance = random.Random(seed)
    lines, made = [], []

    def make(sweep, cheap):
        kind = chance.choice(TYPES)
        first, second = (f"%c{len(lines)}_{number}" for number in range(2))
        for name in (first, second):
            source, its = chance.choice(made[-6:]) if made else ("%x", "f32")
            lines.append(
                f"%{name[1:]} = stablehlo.convert {source} {MARKS.format(sweep)}"
                f" : (tensor<8x{its}>) -> tensor<8x{kind}>"
            )
        name = f"%v{len(lines)}"
        body = f"{first}, {second}"
        if cheap:
            lines.append(f"{name} = stablehlo.multiply {body} {MARKS.format(sweep)} : tensor<8x{kind}>")
        else:
            lines.append(
                f"{name} = stablehlo.dot_general {body}, batching_dims = [0] x [0], contracting_dims = [] x []"
                f" {MARKS.format(sweep)} : (tensor<8x{kind}>, tensor<8x{kind}>) -> tensor<8x{kind}>"
            )
        made.append((name, kind))

    for _ in range(3):
        make(0, cheap=chance.random() < 0.7)
    for _ in range(2):
        make(1, cheap=False)
    results = [made[-1], made[-2], *chance.sample(made[:-2], 1)]
    names, types = ", ".join(name for name, _ in results), ", ".join(f"tensor<8x{kind}>" for _, kind in results)
    body = "\n".join(lines)
    return (
        f"module attributes {{atoll.stages = 1 : i32}} {{ func.func @main(%x: tensor<8xf32>) -> ({types}) {{\n{body}\n"
        f"return {names} : {types} }} }}"
    )


def kept(graph, sweeps):
    """The bytes that the second sweep takes from the first, but for what stays in any case."""
    return sum(
        graph.sizes[value]
        for value, users in enumerate(graph.users)
        if (maker := graph.producer[value]) != ARGUMENT
        and value not in graph.returned
        and sweeps[maker] == 0
        and any(sweeps[user] == 1 for user in users)
    )


def least(graph, sweeps):
    """By trying all ways to move what is cheap."""
    cheap = [
        index
        for index, operation in enumerate(graph.operations)
        if sweeps[index] == 0
        and operation.operation.name != "stablehlo.dot_general"
        and not set(graph.results[index]) & set(graph.returned)
        and any(graph.users[value] for value in graph.results[index])
    ]
    ways = []
    for moved in itertools.product((0, 1), repeat=len(cheap)):
        tried = list(sweeps)
        for index, sweep in zip(cheap, moved, strict=True):
            tried[index] = sweep
        users = ((one, user) for one in cheap for value in graph.results[one] for user in graph.users[value])
        if all(tried[one] <= tried[user] for one, user in users) and 0 in tried:
            ways.append(kept(graph, tried))
    return min(ways)


def test_it_is_the_least():
    gained = 0
    for seed in range(40):
        module = parse_text(program(seed))
        graph = Graph.of(module)
        before = read_marks(graph, SWEEP)
        with module.context:
            KeepLess().run(module)
        after = read_marks(graph, SWEEP)
        assert kept(graph, after) == least(graph, before), f"seed {seed}\n{module}"
        gained += kept(graph, after) < kept(graph, before)
    assert gained > 10, "programs that have something to move"
