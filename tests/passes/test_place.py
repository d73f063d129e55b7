"""The phases `placed` and `scheduled` on real programs: what crosses, where things live, what is shared."""

from collections import Counter
from functools import partial

import jax
import jax.numpy as jnp
import pytest
from atoll.compiler.export.job import Job
from atoll.compiler.mlir.attributes import text_attribute
from atoll.compiler.mlir.bindings import ir, mpmd
from atoll.compiler.mlir.functions import argument_attributes, arguments_of, body_of, functions_in, result_attributes
from atoll.compiler.module.graph import bytes_of
from atoll.compiler.module.main_function import entry_function
from atoll.compiler.module.marks import PATH
from atoll.compiler.module.mesh_types import island_of
from atoll.compiler.plan.plan import Plan
from atoll.examples import decoder

pytestmark = pytest.mark.own

CONFIG = decoder.Config(vocabulary=64, width=16, heads=2, layers=8, length=8)
STATE = jax.eval_shape(partial(decoder.init_state, config=CONFIG), jax.random.key(0))
BATCH = 4
TOKENS = jax.ShapeDtypeStruct((BATCH, CONFIG.length + 1), jnp.int32)
DECODER = Job(decoder.train_step, STATE, TOKENS, donate_argnums=0)
TEXT = "embed, layer_[0..1] | layer_[2..3] | layer_[4..5] | layer_[6..7], head"
TOPOLOGY = "4 x cpu[1]"
PLANS = pytest.mark.parametrize("stages", [4, TEXT], ids=["automatic", "text"])


@pytest.fixture(scope="module")
def decoder_at(phases_of):
    """The decoder at a phase. Many tests look at one module, and none of them changes it."""
    return phases_of(DECODER, TOPOLOGY)


def paths(attributes):
    return [text_attribute(one, PATH) for one in attributes]


@PLANS
def test_the_decoder_sends_what_has_to_be_sent(decoder_at, transfers, stages):
    """Activations and cotangents at three boundaries, the targets to the head, the step count to three islands."""
    activation = BATCH * CONFIG.length * CONFIG.width * 4
    least = 2 * 3 * activation + BATCH * CONFIG.length * 4 + 3 * 4
    sent = sum(bytes_of(tensor) for _, _, tensor in transfers(decoder_at("placed", stages)))
    assert least <= sent <= 1.01 * least


@PLANS
def test_parameters_and_their_moments_live_with_their_layer(decoder_at, stages):
    module = decoder_at("placed", stages)
    main = entry_function(module)
    argument_home = dict(
        zip(paths(argument_attributes(main)), (island_of(one.type) for one in arguments_of(main)), strict=True)
    )
    *_, terminator = body_of(main).operations
    result_home = dict(
        zip(paths(result_attributes(main)), (island_of(one.type) for one in terminator.operands), strict=True)
    )
    for layer in range(CONFIG.layers):
        for name in ("qkv", "out", "up", "down", "norm_mlp", "norm_attention"):
            tail = f"['layers'][{layer}]['{name}']"
            homes = {argument_home[f"state['{kind}']{tail}"] for kind in ("params", "mean", "square")}
            homes |= {result_home[f"result[0]['{kind}']{tail}"] for kind in ("params", "mean", "square")}
            assert len(homes) == 1
            if stages == TEXT:
                assert homes == {f"island{layer // 2}"}
    assert argument_home["state['params']['head']"] == "island3"


def test_paths_keep_their_order(decoder_at):
    signatures = []
    for phase in ("stablehlo", "staged", "placed", "scheduled"):
        module = decoder_at(phase, 4)
        main = entry_function(module)
        signatures.append((paths(argument_attributes(main)), paths(result_attributes(main))))
    assert signatures[1:] == signatures[:1] * 3


@PLANS
def test_tasks_are_named_by_what_they_do(decoder_at, stages):
    module = decoder_at("scheduled", stages)
    main = entry_function(module)
    tasks = [
        mpmd.UserOriginAttr(ir.ArrayAttr(one.attributes["origin"])[0]).user_name
        for one in body_of(main).operations
        if isinstance(one, mpmd.FragmentCallOp)
    ]
    assert tasks == ["F0", "F1", "F2", "F3", "B3", "B2", "B1", "B0", "U0", "U1", "U2", "U3"]


@PLANS
def test_equal_stages_of_the_decoder_share_their_code(decoder_at, stages):
    module = decoder_at("scheduled", stages)
    functions = set(functions_in(module))
    assert functions == {"main", "F0", "F1", "F3", "B3", "B2", "B0", "U0", "U1", "U3"}


def test_equal_layers_compile_once(module_at):
    def step(params, x):
        def loss(params):
            y = x
            for index, layer in enumerate(params):
                with jax.named_scope(f"layer_{index}"):
                    y = jnp.tanh(y @ layer["w"] + layer["b"])
            return jnp.mean(y**2)

        return jax.tree.map(lambda p, g: p - 0.1 * g, params, jax.grad(loss)(params))

    params = [{"w": jnp.zeros((8, 8)), "b": jnp.zeros(8)} for _ in range(8)]
    text = "layer_[0..1] | layer_[2..3] | layer_[4..5] | layer_[6..7]"
    module = module_at(Job(step, params, jnp.zeros((4, 8))), "scheduled", Plan(stages=text), TOPOLOGY)
    functions = set(functions_in(module))
    # All forward parts, as nobody asks for the loss; the backward parts in the middle; every update.
    assert functions == {"main", "F0", "B3", "B2", "B0", "U0"}


def test_a_value_reaches_an_island_once(module_at, transfers):
    """A mask that every layer takes is sent to each island, once."""

    def fn(params, x):
        mask = jnp.cumsum(x, axis=0)
        for index, w in enumerate(params):
            with jax.named_scope(f"layer_{index}"):
                x = jnp.tanh(x @ w) * mask * mask
        return x

    job = Job(fn, [jnp.zeros((8, 8))] * 4, jnp.zeros((16, 8)))
    text = "layer_0 | layer_1 | layer_2 | layer_3"
    sent = transfers(module_at(job, "placed", Plan(stages=text), TOPOLOGY))
    assert Counter(target for _, target, _ in sent) == {"island1": 2, "island2": 2, "island3": 2}


def test_the_example_of_the_pathways_paper(module_at, transfers, run_by_hand):
    """`a` doubles, `b` adds one, `c` halves, each on its island; `a` runs again behind `c`."""

    def a(v):
        with jax.named_scope("a"):
            return v * 2

    def f(v):
        x = a(v)
        with jax.named_scope("b"):
            y = x + 1
        with jax.named_scope("c"):
            half = x / 2
        return y, a(half)

    job = Job(f, jnp.array([1.0, 2.0]))
    islands = "island left : cpu[1]; island middle : cpu[1]; island right : cpu[1]"
    plan = Plan(placement={"a": "left", "b": "middle", "c": "right"})
    module = module_at(job, "scheduled", plan, islands)
    assert [(source, target) for source, target, _ in transfers(module)] == [
        ("left", "middle"),
        ("left", "right"),
        ("right", "left"),
    ]
    y, z = run_by_hand(module, job)
    assert (y.tolist(), z.tolist()) == ([3, 5], [2, 4])


def test_clipping_by_global_norm_sends_scalars(module_at, transfers):
    """An optimizer that looks at all gradients sends a partial sum of each, not the gradients."""

    def step(params, x):
        def loss(params):
            y = x
            for index, w in enumerate(params):
                with jax.named_scope(f"layer_{index}"):
                    y = jnp.tanh(y @ w)
            return jnp.mean(y)

        gradients = jax.grad(loss)(params)
        norm = jnp.sqrt(sum(jnp.sum(g * g) for g in gradients))
        return [p - g * jnp.minimum(1.0, 1 / norm) for p, g in zip(params, gradients, strict=True)]

    job = Job(step, [jnp.zeros((32, 32))] * 4, jnp.zeros((4, 32)), donate_argnums=0)
    sent = transfers(module_at(job, "placed", Plan(stages=4), TOPOLOGY))
    sizes = Counter(bytes_of(tensor) for _, _, tensor in sent)
    assert sizes[4 * 32 * 4] == 6
    assert set(sizes) == {4 * 32 * 4, 4}
    assert sizes[4] <= 6 + 3  # each partial sum on, and the norm back
