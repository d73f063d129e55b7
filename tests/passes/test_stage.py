"""The phase `staged` on real programs: who computes what, how even it is, and how little crosses."""

from collections import Counter
from functools import partial
from itertools import combinations, pairwise

import jax
import jax.numpy as jnp
import pytest
from atoll.compiler.cost.operations import cost_of
from atoll.compiler.errors import PlanError
from atoll.compiler.export.job import Job
from atoll.compiler.mlir.ir_text import parse_text
from atoll.compiler.mlir.locations import name_stack
from atoll.compiler.module.graph import Graph
from atoll.compiler.module.marking import read_marks
from atoll.compiler.module.marks import STAGE, SWEEP
from atoll.compiler.module.notes import Traffic
from atoll.compiler.module.noting import notes_of
from atoll.compiler.module.scopes import Role, read_scope
from atoll.compiler.pipeline.pass_manager import run_passes
from atoll.compiler.pipeline.registry import steps_of_text
from atoll.compiler.plan.plan import Plan
from atoll.examples import decoder
from atoll.passes.stage.cut.contiguous_cut import SLACK
from atoll.passes.stage.make_again import EXACT
from atoll.passes.stage.operations.cheap_operations import copied
from atoll.passes.stage.operations.roles import roles_of

pytestmark = pytest.mark.own

CONFIG = decoder.Config(vocabulary=64, width=16, heads=2, layers=8, length=8)
STATE = jax.eval_shape(partial(decoder.init_state, config=CONFIG), jax.random.key(0))
TOKENS = jax.ShapeDtypeStruct((4, CONFIG.length + 1), jnp.int32)
DECODER = Job(decoder.train_step, STATE, TOKENS, donate_argnums=0)
TEXT = "embed, layer_[0..1] | layer_[2..3] | layer_[4..5] | layer_[6..7], head"
TOPOLOGY = "4 x cpu[1]"
PLANS = pytest.mark.parametrize("stages", [4, TEXT], ids=["automatic", "text"])


@pytest.fixture(scope="module")
def decoder_at(phases_of):
    """The decoder at a phase. Many tests look at one module, and none of them changes it."""
    return phases_of(DECODER, TOPOLOGY)


def two_scopes(x):
    with jax.named_scope("a"):
        y = jnp.sin(x)
    with jax.named_scope("b"), jax.named_scope("inner"):
        return jnp.cos(y)


TWO = Job(two_scopes, jnp.zeros(3))


def test_a_pattern_that_matches_nothing(module_at):
    message = r"\S+: pass seed-stages: pattern c of stage 1 matches no scope and no parameter; .* are a, b, b/inner\n"
    with pytest.raises(PlanError, match=message):
        module_at(TWO, "staged", Plan(stages="a | c"), TOPOLOGY)


def test_two_stages_claim_one_scope(module_at):
    with pytest.raises(
        PlanError, match=r"test_stage.py:\d+: .*b/inner is claimed by stage 0 \(b\) and stage 1 \(inner"
    ):
        module_at(TWO, "staged", Plan(stages="a, b | inner"), TOPOLOGY)


def test_two_stages_claim_one_parameter(module_at):
    job = Job(lambda p: jnp.sin(p["a"]["b"]), {"a": {"b": jnp.zeros(3)}})
    with pytest.raises(
        PlanError, match=r"argument p\['a'\]\['b'\]: .*p/a/b is claimed by stage 0 \(a\) and stage 1 \(b"
    ):
        module_at(job, "staged", Plan(stages="a | b"), TOPOLOGY)


def test_stages_in_the_wrong_order(module_at):
    message = r"test_stage.py:\d+: .*stage 0 \(b/inner\) needs what stage 1 \(a\) computes; order the stages as the mod"
    with pytest.raises(PlanError, match=message):
        module_at(TWO, "staged", Plan(stages="b | a"), TOPOLOGY)


def test_stages_in_the_wrong_order_by_parameter(module_at):
    job = Job(lambda p: jnp.sin(p["a"]) + p["b"], {"a": jnp.zeros(3), "b": jnp.zeros(3)})
    with pytest.raises(PlanError, match="stage 0 needs what stage 1 computes"):
        module_at(job, "staged", Plan(stages="b | a"), TOPOLOGY)


def test_a_placement_on_an_unknown_island(module_at):
    with pytest.raises(PlanError, match="puts a on island moon, which the topology does not have; its islands are isl"):
        module_at(TWO, "staged", Plan(placement={"a": "moon"}), TOPOLOGY)


def test_a_placement_may_go_back_and_forth(module_at):
    assert module_at(TWO, "staged", Plan(placement={"a": "island3", "b": "island0"}), TOPOLOGY)


@PLANS
def test_an_operation_follows_its_scope_and_its_parameter(decoder_at, stages):
    """Forward and backward of each layer on its stage; with a stage text exactly as it says."""
    graph = Graph.of(decoder_at("staged", stages))
    homes: dict[str, set[int | None]] = {}
    is_copied = copied(graph)
    for operation, stage, is_copy in zip(graph.operations, read_marks(graph, STAGE), is_copied, strict=True):
        path = read_scope(name_stack(operation.location)).path
        if path and not is_copy and path[0].startswith("layer_"):
            homes.setdefault(path[0], set()).add(stage)
    assert len(homes) == CONFIG.layers
    if stages == TEXT:
        assert homes == {f"layer_{index}": {index // 2} for index in range(CONFIG.layers)}


@PLANS
def test_every_operation_is_in_one_stage_and_sweep(decoder_at, stages):
    """Beside copies, and what is made again, there are the same operations as before, and none is without a mark."""
    before = Graph.of(decoder_at("stablehlo", stages))
    after = Graph.of(decoder_at("staged", stages))
    assert None not in read_marks(after, STAGE)
    assert None not in read_marks(after, SWEEP)
    assert names(before) <= names(after)
    assert (names(after) - names(before)).keys() <= {one.OPERATION_NAME for one in EXACT}


def names(graph):
    """How many operations there are of each kind, without copies."""
    pairs = zip(graph.operations, copied(graph), strict=True)
    return Counter(operation.operation.name for operation, is_copy in pairs if not is_copy)


@PLANS
def test_traffic_is_at_its_lower_bound_or_near(decoder_at, stages):
    (found,) = (one.fact for one in notes_of(decoder_at("staged", stages)) if isinstance(one.fact, Traffic))
    assert 0 < found.at_least <= found.bytes <= 2 * found.at_least


@pytest.mark.parametrize("count", [2, 3, 4])
def test_automatic_stages_are_even(decoder_at, count):
    """Within 15% of the best contiguous cut of the forward operations, wherever that cuts."""
    graph = Graph.of(decoder_at("staged", count))
    forward = [
        (stage, cost_of(operation))
        for operation, stage, role, is_copy in zip(
            graph.operations, read_marks(graph, STAGE), roles_of(graph), copied(graph), strict=True
        )
        if role is Role.FORWARD and not is_copy
    ]
    heaviest = max(sum(cost for of, cost in forward if of == stage) for stage in range(count))
    assert heaviest <= SLACK * best_bottleneck([cost for _, cost in forward], count)


def best_bottleneck(costs, parts):
    """By exhaustive search, over places between runs of costs that are summed up to 1/60 of the whole."""
    fine = sum(costs) / 60
    places, run = [], 0
    for place, cost in enumerate(costs):
        if run + cost > fine and place:
            places.append(place)
            run = 0
        run += cost
    sums = [0]
    for cost in costs:
        sums.append(sums[-1] + cost)
    return min(
        max(sums[end] - sums[start] for start, end in pairwise([0, *cuts, len(costs)]))
        for cuts in combinations(places, parts - 1)
    )


def test_a_chain_of_copies_may_be_longer_than_pythons_stack():
    """Thousands of operations on a scalar are all copied to where the last is used."""
    length = 4000
    lines = [f"%{index} = stablehlo.negate %{index - 1} : tensor<f32>" for index in range(1, length)]
    module = parse_text(f"""
        module attributes {{atoll.plan = "stages=1", atoll.topology = "1 x cpu[1]"}} {{
          func.func @main(%x: tensor<f32> {{atoll.path = "x"}}, %y: tensor<4xf32> {{atoll.path = "y"}})
              -> (tensor<4xf32> {{atoll.path = "result"}}) {{
            %0 = stablehlo.negate %x : tensor<f32>
            {" ".join(lines)}
            %b = stablehlo.broadcast_in_dim %{length - 1}, dims = [] : (tensor<f32>) -> tensor<4xf32>
            %r = stablehlo.add %y, %b : tensor<4xf32>
            return %r : tensor<4xf32>
          }}
        }}""")
    run_passes(module, steps_of_text("stage"))
    assert len(Graph.of(module).operations) == length + 2
