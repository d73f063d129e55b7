"""Roles that are found without name stacks, beside those that jax's name stacks tell of the same programs."""

import jax
import jax.numpy as jnp
import optax
import pytest
from atoll.compiler.export.frontend import export
from atoll.compiler.export.job import Job
from atoll.compiler.mlir.ir_text import parse_text, print_module
from atoll.compiler.module.graph import Graph
from atoll.compiler.module.marking import read_marks
from atoll.compiler.module.marks import STAGE
from atoll.compiler.module.scopes import Role
from atoll.compiler.pipeline.pass_manager import run_passes
from atoll.compiler.pipeline.registry import steps_of_text
from atoll.compiler.pipeline.resume import write_texts
from atoll.compiler.plan.plan import Plan
from atoll.compiler.topology.topology import topology
from atoll.examples import decoder
from atoll.passes.stage.operations.cheap_operations import copied
from atoll.passes.stage.operations.roles import roles_of

UNTIL_SPREAD = "chain-scalars, drop-dead-carries, split-branches, seed-stages, cut-automatically, split-layer-loops"


def shape(*sizes):
    return jax.ShapeDtypeStruct(sizes, "float32")


def chain(params, x, y):
    for w, b in params:
        x = jnp.tanh(x @ w + b)
    return jnp.mean((x - y) ** 2)


CHAIN = [(shape(8, 8), shape(8))] * 4
BATCH = shape(16, 8), shape(16, 8)


def descending(loss, optimizer=None):
    """A train step: with an optimizer of optax, or with one of its own."""

    def own(params, *batch):
        value, gradients = jax.value_and_grad(loss)(params, *batch)
        return jax.tree.map(lambda p, g: p - 0.1 * (g + 0.01 * p), params, gradients), value

    def step(state, *batch):
        params, inner = state
        value, gradients = jax.value_and_grad(loss)(params, *batch)
        updates, inner = optimizer.update(gradients, inner, params)
        return (optax.apply_updates(params, updates), inner), value, optax.tree.norm(gradients)

    return own if optimizer is None else step


def optimized(loss, params, optimizer, *batch):
    return Job(descending(loss, optimizer), (params, jax.eval_shape(optimizer.init, params)), *batch)


def convolved(params, x, y):
    first, second, w = params
    for kernel, stride in ((first, 1), (second, 2)):
        names = ("NHWC", "HWIO", "NHWC")
        x = jax.nn.relu(jax.lax.conv_general_dilated(x, kernel, (stride, stride), "SAME", dimension_numbers=names))
    return -jnp.mean(jnp.sum(jax.nn.log_softmax(x.reshape(x.shape[0], -1) @ w) * y, -1))


def rematerialised(params, x, y):
    @jax.checkpoint
    def block(layer, x):
        return x + jnp.tanh(x @ layer[0]) @ layer[1]

    for layer in params:
        x = block(layer, x)
    return jnp.mean((x - y) ** 2)


def scanned(params, x, y):
    stack, head = params
    x, _ = jax.lax.scan(lambda x, w: (jnp.tanh(x @ w), None), x, stack)
    return jnp.mean((x @ head - y) ** 2)


def recurrent(params, x):
    w, v = params
    state, _ = jax.lax.scan(lambda state, one: (jnp.tanh(one @ w + state @ v), None), jnp.zeros((16, 8)), x)
    return jnp.mean(state**2)


def tied(w, x):
    return jnp.mean((jnp.tanh(x @ w) @ w.T - x) ** 2)


def dropping(params, x, y):
    *layers, key = params
    for number, (w, b) in enumerate(layers):
        x = jnp.tanh(x @ w + b) * jax.random.bernoulli(jax.random.fold_in(key, number), 0.9, x.shape)
    return jnp.mean((x - y) ** 2)


def keyed(params, key, *batch):
    value, gradients = jax.value_and_grad(lambda layers: dropping((*layers, key), *batch))(params)
    return jax.tree.map(lambda p, g: p - 0.1 * g, params, gradients), value


def fused(params, x, y):
    """One array has the weights of three products."""
    for w in params:
        queries, keys, values = (x @ w[number] for number in range(3))
        x = x + jax.nn.softmax(queries @ keys.T) @ values
    return jnp.mean((x - y) ** 2)


JOBS = {
    "own": Job(descending(chain), CHAIN, *BATCH),
    "gradients": Job(jax.grad(chain), CHAIN, *BATCH),
    "adam": optimized(chain, CHAIN, optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-3)), *BATCH),
    "adafactor": optimized(chain, CHAIN, optax.adafactor(1e-3), *BATCH),
    "muon": optimized(chain, CHAIN, optax.contrib.muon(1e-3), *BATCH),
    "convolutions": Job(
        descending(convolved), (shape(3, 3, 3, 8), shape(3, 3, 8, 16), shape(256, 10)), shape(4, 8, 8, 3), shape(4, 10)
    ),
    "rematerialised": Job(descending(rematerialised), [(shape(8, 16), shape(16, 8))] * 3, *BATCH),
    "scanned": Job(descending(scanned), (shape(4, 8, 8), shape(8, 8)), *BATCH),
    "recurrent": Job(descending(recurrent), (shape(8, 8), shape(8, 8)), shape(5, 16, 8)),
    "tied": Job(descending(tied), shape(8, 4), shape(16, 8)),
    "dropping": Job(keyed, CHAIN, jax.random.key(0), *BATCH),
    "fused": Job(descending(fused), [shape(3, 8, 8)] * 2, *BATCH),
    "decoder": decoder.job,
}


def both(job):
    """The program with the locations that jax wrote, and without."""
    told = export(job)
    run_passes(told, steps_of_text("normalize"))
    write_texts(told, topology("2 x cpu[1]"), Plan(stages=2))
    return [told, parse_text(print_module(told))]


@pytest.mark.parametrize("name", JOBS)
def test_found_roles_are_those_that_jax_tells(name):
    told, found = both(JOBS[name])
    run_passes(found, steps_of_text("find-roles"))
    graph = Graph.of(told)
    roles = zip(graph.operations, roles_of(graph), roles_of(Graph.of(found)), copied(graph), strict=True)
    pairs = [(operation, one, other) for operation, one, other, is_copied in roles if not is_copied]
    differing = [(operation, one, other) for operation, one, other in pairs if one is not other]
    # Which part of the loss's gradient jax kept from its forward part, and what is computed again, it alone knows.
    back = {Role.BACKWARD, Role.REMATERIALISED}
    products = [at for at, (operation, *_) in enumerate(pairs) if "dot" in operation.operation.name]
    last = max(at for at in products if pairs[at][1] is Role.FORWARD) if products else 0
    for operation, one, other in differing:
        is_behind = pairs.index((operation, one, other)) > last
        assert {one, other} <= back or is_behind, f"{operation}: {one}, found {other}"
    assert len(differing) <= len(pairs) / 6
    assert {Role.FORWARD, Role.BACKWARD} <= {other for _, _, other in pairs}


@pytest.mark.parametrize("name", ["own", "adam", "scanned", "decoder"])
def test_a_program_without_locations_is_cut_as_one_with(name):
    stages = []
    for module in both(JOBS[name]):
        run_passes(module, steps_of_text(f"time, {UNTIL_SPREAD}, share-update, spread-stages, order-sweeps"))
        stages.append(read_marks(Graph.of(module), STAGE))
    assert stages[0] == stages[1]
    assert {0, 1} <= set(stages[0])
