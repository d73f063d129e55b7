"""Models with stacked layers on islands give what `jax.jit` gives, whatever form their loops have."""

import itertools
from dataclasses import replace

import jax
import layered_loops
import layered_uses
import pytest
import zoo
from layered import LAYERS, MODELS
from layered_checks import (
    check,
    check_shares,
    check_steps,
    check_traffic,
    compiled,
    expected_links,
    model_named,
    plan_of,
    stage_text,
)
from microbatched import BY_XLA, codes_of_tasks, compiled_by_xla, evaluated  # noqa: F401 (fixtures)

import atoll

NAMES = [name for name in MODELS if any(hasattr(one, name) for one in (*layered_loops.MODULES, layered_uses))]
ISLANDS, MICROBATCHES = (2, 4), (1, 4)


# Of what XLA could take otherwise than numpy one each: they run on islands as they do for users.
COMPILED = {
    "a_switch_in_the_layers",
    "an_ensemble",
    "balanced_experts",
    "cache_of_keys_and_values",
    "decoder_recomputed",
    "dropout_by_keys_of_layers",
    "encoder_and_decoder",
    "layers_unlike_by_branch",
    "policy_offloaded",
    "quantised_inference",
    "recurrence",
    "until_it_changes_little",
}


def pytest_generate_tests(metafunc):
    """Every model with one number of islands and of microbatches, every pair of these with many models; or all.

    Quickly, those that XLA compiles, and of the others every third: jax traces and lowers the same few loops for them.
    """
    if not {"count", "microbatches"} <= set(metafunc.fixturenames):
        return
    shapes, is_full = list(itertools.product(ISLANDS, MICROBATCHES)), metafunc.config.getoption("full")
    chosen = [
        (name, *shape)
        for number, name in enumerate(NAMES)
        for shape in (shapes if is_full else [shapes[number % len(shapes)]])
    ]
    left = set(COMPILED)
    marks = [BY_XLA if name in left and not left.remove(name) else () for name, *_ in chosen]
    if metafunc.config.getoption("quick"):
        kept = [bool(mark) or number % 3 == 0 for number, mark in enumerate(marks)]
        chosen, marks = (list(itertools.compress(one, kept)) for one in (chosen, marks))
    parameters = [pytest.param(*one, marks=mark) for one, mark in zip(chosen, marks, strict=True)]
    metafunc.parametrize(("name", "count", "microbatches"), parameters)


@pytest.mark.one_in(8)
def test_same_answer_as_jit(name, count, microbatches):
    check(name, count, microbatches)


# What crosses, in bytes worked out by hand: 8 examples of 5 tokens, 12 wide, in float32; 17 tokens in the vocabulary.
BYTES = {
    ("inference", 2): {"0>1": 1920},
    ("inference", 4): {"0>1": 1920, "1>2": 1920, "2>3": 1920},
    ("scanned", 2): {"0>1": 1920, "1>0": 1920},
    ("six_layers", 4): {"0>1": 1920, "1>2": 1920, "2>3": 1920, "3>2": 1920, "2>1": 1920, "1>0": 1920},
    ("two_streams", 2): {"0>1": 3840, "1>0": 3840},
    ("forward_derivative", 2): {"0>1": 3840},
    ("narrow_outside_of_the_loop", 2): {"0>1": 960, "1>0": 960},
    ("cache_of_keys_and_values", 4): {"0>1": 384, "1>2": 384, "2>3": 384},  # one token
    ("encoder_and_decoder", 2): {"0>1": 2688, "1>0": 2688},  # 7 tokens that the encoder has read
    ("the_first_stream_in_every_layer", 2): {"0>1": 3840, "1>0": 1920},  # the first is an argument
    ("decoder_untied", 2): {"0>1": 1920 + 160, "1>0": 1920},  # 5 tokens that are to be predicted
    ("decoder_recomputed", 2): {"0>1": 1920 + 160 + 816, "1>0": 1920 + 816},  # the embedding, and its gradient
    ("decoder_recomputed", 4): {
        "0>1": 1920,
        "1>2": 1920,
        "2>3": 1920,
        "3>2": 1920,
        "2>1": 1920,
        "1>0": 1920,
        "0>3": 160 + 816,
        "3>0": 816,
    },
}


@pytest.mark.parametrize(("name", "count"), BYTES)
def test_the_models_data_give_the_bytes_worked_out_by_hand(name, count):
    links = expected_links(MODELS[name]().traffic, [str(island) for island in range(count)])
    assert {f"{one}>{other}": size for (one, other), size in links.items() if size} == BYTES[name, count]


@pytest.mark.parametrize(
    ("name", "count", "text"),
    [
        ("scanned", 2, "layers[0..1] | layers[2..3], head"),
        ("six_layers", 4, "layers[0..1] | layers[2..2] | layers[3..3] | layers[4..5], head"),
        ("decoder_untied", 2, "embed, layers[0..1] | layers[2..3], head"),
        ("dense_then_experts", 2, "dense[0..1], experts[0..0] | experts[1..3], head"),
        ("weighted_mean_of_all_layers", 4, "layers[0..0] | layers[1..1] | layers[2..2] | layers[3..3], mean, head"),
        ("two_layers_an_iteration", 4, ""),
        ("one_layer_for_all", 2, ""),
        ("decoder_unrolled", 2, ""),
    ],
)
def test_the_models_data_give_stage_texts(name, count, text):
    assert stage_text(MODELS[name](), count) == text


@pytest.mark.one_in(3)
@pytest.mark.own
@pytest.mark.parametrize(
    ("name", "iterations"), [("scanned", (2, 2)), ("six_layers", (3, 3)), ("decoder_untied", (2, 2))]
)
def test_the_automatic_cut_divides_the_layers_evenly(name, iterations):
    model = model_named(name)
    with compiled(model, 2, 4, plan=atoll.Plan(stages=2, microbatches=4, schedule="1f1b")) as step:
        check_steps(step, model, steps=2)
        check_shares(step, model, {"layers": iterations})
        check_traffic(step, model, 2, 4)


@pytest.mark.one_in(2)
@pytest.mark.own
@pytest.mark.parametrize("microbatches", MICROBATCHES)
def test_uneven_stages(microbatches):
    model = model_named("decoder_recomputed")
    plan = atoll.Plan(stages="embed, layers[0..0] | layers[1..3], head", microbatches=microbatches, schedule="1f1b")
    with compiled(model, 2, microbatches, plan=plan) as step:
        check_steps(step, model, steps=2)
        check_shares(step, model, {"layers": (1, 3)})
        check_traffic(step, model, 2, microbatches)


def test_equal_stages_are_compiled_once():
    """Of four stages the two in the middle have no head and no embedding."""
    model = model_named("decoder_recomputed")
    with compiled(model, 4, 4) as step:
        codes = codes_of_tasks(step)
        assert all(codes[kind, "1"] == codes[kind, "2"] for kind in "FB")


def test_a_stacked_array_is_one_value_in_parts():
    model = model_named("last_layer_first")
    case = model.case
    with compiled(model, 2, 1) as step:
        (params, _), _, grads = step(*zoo.arguments_of(case))
        for array in (*jax.tree.leaves(params["layers"]), *jax.tree.leaves(grads["layers"])):
            assert array.islands == ("island1", "island0")  # in the order of the array, whose first rows are used last
            assert array.shape[0] == LAYERS
        assert params["head"].islands == ("island1",)


@pytest.mark.one_in(3)
@pytest.mark.own
@pytest.mark.parametrize("kind", ["zb-h1", "interleaved-1f1b(2)", "zb-v"])
@pytest.mark.parametrize(
    "name", ["decoder_recomputed", pytest.param("dropout_by_the_number_of_the_layer", marks=BY_XLA)]
)
def test_schedules(name, kind):
    """Those that split the backward pass of a layer loop, and those that put several stages on an island."""
    model = model_named(name)
    stages = 2 if kind == "zb-h1" else 4
    plan = replace(plan_of(model, stages, 4), schedule=kind)
    with compiled(model, 2, 4, plan=plan) as step:
        check_steps(step, model, steps=2)
