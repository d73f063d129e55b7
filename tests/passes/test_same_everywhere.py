"""Which choices make no jump, and which numbers have the same bits wherever they are made."""

import jax
import jax.numpy as jnp
import pytest
from atoll.compiler.batch_rules.nodes import NodeTree
from atoll.compiler.mlir.ir_text import parse_text
from atoll.compiler.pipeline.pass_manager import run_passes
from atoll.compiler.pipeline.registry import steps_of_text
from atoll.passes.time.folding.bits import Bits, bits_of_results
from atoll.passes.time.folding.kinks import is_continuous

pytestmark = pytest.mark.own

X = jax.ShapeDtypeStruct((4,), "float32")
KEY = jax.ShapeDtypeStruct((2,), "uint32")


def program_of(fn, *args):
    module = parse_text(jax.jit(fn).lower(*args).as_text())
    run_passes(module, steps_of_text("inline-calls, symbol-dce"))
    return NodeTree.of(module, 2)


def larger(x):
    y = x[::-1]
    return jnp.where(x > y, x, y)


@pytest.mark.parametrize(
    ("choice", "expected"),
    {
        "relu": (lambda x: jnp.where(x > 0, x, 0), True),
        "leaky": (lambda x: jnp.where(x >= 0, x, 0.1 * x), True),
        "the other way round": (lambda x: jnp.where(x > 0, x, 0), True),
        "elu": (lambda x: jnp.where(x > 0, x, jnp.expm1(jnp.where(x > 0, 0.0, x))), True),
        "huber": (lambda x: jnp.where(x > 1, x - 0.5, 0.5 * x * x), True),
        "the larger one": (larger, True),
        "a step": (lambda x: jnp.where(x > 0, 1.0, 0.0), False),
        "a jump": (lambda x: jnp.where(x > 0, x, 1.0), False),
        "another border": (lambda x: jnp.where(x > 0.5, x, 0), False),
        "what else there is": (lambda x: jnp.where(x > 0, x[::-1], 0.0), False),
        "nothing to compare with": (lambda x: jnp.where(x != 0, x, 0.0), False),
        "a jump within": (lambda x: jnp.where(x > 0, x, jnp.where(x < -1, 2.0, 0.0) * x), False),
    }.values(),
)
def test_a_choice_makes_a_jump_or_none(choice, expected):
    program = program_of(choice, X)
    choosing = program.producers[program.body.returned[0]]
    assert choosing.name == "stablehlo.select"
    assert is_continuous(choosing) == expected


def scanned(layer):
    return lambda x: jax.lax.scan(lambda h, _: (layer(h), None), x, None, length=3)[0]


def masks(x):
    return jax.lax.scan(lambda h, _: (jax.nn.relu(jnp.sin(h)), h > 0), x, None, length=3)


@pytest.mark.parametrize(
    ("fn", "arguments", "expected"),
    {
        "moved": (lambda x: jnp.maximum(-x[::-1], 0.5), (X,), [Bits.SURE]),
        "compared": (lambda x: x > 0, (X,), [Bits.SURE]),
        "once": (lambda x: x + 1, (X,), [Bits.ONCE]),
        "twice": (lambda x: x * 2 + 1, (X,), [Bits.ROUNDED]),
        "decided": (lambda x: jnp.sin(x) > 0, (X,), [Bits.DECIDED]),
        "argmax": (lambda x: jnp.argmax(jnp.sin(x)), (X,), [Bits.DECIDED]),
        "dropout": (lambda key: jax.random.bernoulli(key, 0.5, (4,)), (KEY,), [Bits.SURE]),
        "relu in a scan": (scanned(lambda h: jnp.where(jnp.sin(h) > 0, jnp.sin(h), 0)), (X,), [Bits.DECIDED]),
        "relu of one value in a scan": (scanned(lambda h: jax.nn.leaky_relu(jnp.sin(h))), (X,), [Bits.ROUNDED]),
        "a step in a scan": (scanned(lambda h: jnp.where(jnp.sin(h) > 0, 1.0, 0.0)), (X,), [Bits.DECIDED]),
        "masks beside numbers": (masks, (X,), [Bits.ROUNDED, Bits.DECIDED]),
    }.values(),
)
def test_how_sure_bits_are(fn, arguments, expected):
    program, bits = program_of(fn, *arguments), {}
    for node in program.body.nodes:
        taken = [bits.get(value, Bits.SURE) for value in node.operands]
        bits.update(zip(node.results, bits_of_results(node, taken, bits), strict=True))
    assert [bits[value] for value in program.body.returned] == expected
