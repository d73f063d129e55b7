"""Programs that mix examples: each computes what `jax.jit` computes, and the user is told where it mixes them and what
that costs; or, where nothing of the model would be left for microbatches, it is refused with a sentence that says so.

The line is one with the comment `# mixes`; where a reduction and what uses it for each example stand on two lines,
both have it, and either may be named.
"""

import functools
import inspect
import re

import jax
import jax.numpy as jnp
import numpy
import optax
import pytest
from atoll.compiler.errors import CompileError, PlanError
from atoll.compiler.module.noting import notes_of
from atoll.compiler.plan.allowance import EXTRA
from jax import lax
from timed_harness import Program, faults, judged, lowered, pair_of, take_to

B, T, D = 4, 4, 4

MIXED, REFUSED = {}, {}


def normal(seed, *shape):
    return numpy.random.default_rng(seed).normal(size=shape).astype("float32")


def mixed(*args, naming, batch=(1,), programs=MIXED):
    """Add a function with its arguments, and a pattern for what the user is told that the operation is called."""

    def add(fn):
        programs[fn.__name__] = (fn, args, batch, naming)
        return fn

    return add


refused = functools.partial(mixed, programs=REFUSED)


W, X, Y = normal(1, D, D), normal(2, B, D), normal(3, B, D)
SEQUENCE = normal(4, B, T, D)
LABELS = numpy.arange(B) % D
KEY = numpy.array([7, 9], "uint32")
REDUCTION = r"reduce|sum|mean|max|dot"


# Statistics of the batch that every example uses


@mixed(W, X, naming=REDUCTION)
def batch_norm_after_a_layer(w, x):
    y = x @ w
    mean = y.mean(0)  # mixes
    return jnp.tanh(y - mean)  # mixes


@mixed(W, X, naming=REDUCTION)
def gradient_of_batch_norm(w, x):
    def loss(w):
        y = jnp.tanh(x @ w)
        variance = jnp.mean(y**2, 0)  # mixes
        return jnp.mean((y / jnp.sqrt(variance + 1e-5)) ** 3)  # mixes

    return jax.grad(loss)(w)


@mixed(W, X, naming=REDUCTION)
def batch_softmax(w, x):
    y = x @ w
    return jax.nn.softmax(y, axis=0)  # mixes


@mixed(W, X, naming=REDUCTION)
def divided_by_the_largest_of_the_batch(w, x):
    y = x @ w
    largest = y.max()  # mixes
    return y / largest  # mixes


@mixed(W, X, naming=REDUCTION)
def batch_whitening(w, x):
    y = x @ w
    covariance = y.T @ y / B  # mixes
    return y @ jnp.linalg.inv(covariance + jnp.eye(D))  # mixes


@mixed(W, X, naming=REDUCTION)
def determinant_of_the_covariance_for_each_example(w, x):
    y = x @ w
    covariance = y.T @ y  # mixes
    return y * jnp.linalg.det(covariance)  # mixes


@mixed(W, X, naming=REDUCTION)
def correlations_of_features_for_each_example(w, x):
    y = jnp.tanh(x @ w)
    gram = jnp.einsum("bd,be->de", y, y)  # mixes
    return y @ gram  # mixes


@mixed({"router": W, "experts": normal(5, D, D, D)}, X, naming=REDUCTION)
def router_balanced_over_the_batch(params, x):
    gate = jax.nn.softmax(x @ params["router"])
    load = gate.mean(0)  # mixes
    return jnp.einsum("be,edf,bd->bf", gate / load, params["experts"], x)  # mixes


@mixed(W, X, naming=r"reduce|sum|case|cond|branch")
def branch_on_a_statistic(w, x):
    y = x @ w
    positive = y.sum() > 0  # mixes
    return lax.cond(positive, lambda y: jnp.tanh(y @ w), lambda y: y, y)  # mixes


@mixed(W, X, naming=REDUCTION)
def contrast_with_the_mean_of_the_others(w, x):
    y = jnp.tanh(x @ w)
    others = (y.sum(0) - y) / (B - 1)  # mixes
    return jnp.mean(jnp.sum(y * others, -1) ** 2)


@mixed(W, X, naming=REDUCTION)
def log_of_a_sum(w, x):
    def loss(w):
        total = jnp.sum(jnp.exp(x @ w))  # mixes
        return jnp.log(total)  # mixes

    return jax.grad(loss)(w)


@mixed(W, X, naming=REDUCTION)
def norms_of_features_as_long_as_the_batch(w, x):
    y = x @ w
    norms = jnp.einsum("bd,bd->d", y, y)  # mixes
    return y * norms[:, None]  # mixes


@mixed(W, X, naming=REDUCTION)
def square_of_a_sum(w, x):
    def loss(w):
        y = jnp.tanh(x @ w)
        return jnp.sum(y) * jnp.sum(y**2)  # mixes

    return jax.grad(loss)(w)


@mixed(W, X, naming=REDUCTION)
def an_advantage_over_the_mean(w, x):
    y = jnp.sum(jnp.tanh(x @ w), -1)
    baseline = y.mean()  # mixes
    return jnp.sum(y * (y - baseline))  # mixes


# Orders of the batch


@mixed(W, X, naming="sort")
def sorted_examples(w, x):
    return jnp.sort(x @ w, axis=0)  # mixes


@mixed(W, X, naming="sort")
def ranked_examples(w, x):
    scores = (x @ w).sum(-1)
    return jnp.argsort(scores)  # mixes


@mixed(W, X, naming="sort|quantile|median")
def median_of_the_batch(w, x):
    return x @ w - jnp.median(x @ w, 0)  # mixes


@mixed(W, X, naming="top_k|sort")
def hardest_examples(w, x):
    losses = jnp.sum((x @ w) ** 2, -1)
    return lax.top_k(losses, 2)[0].mean()  # mixes


@mixed(W, X, naming="reduce|argmax")
def the_best_example(w, x):
    return jnp.argmax(x @ w, 0)  # mixes


@mixed(W, X, naming="cumsum|reduce_window")
def cumulative_over_the_batch(w, x):
    return jnp.cumsum(x @ w, 0)  # mixes


@mixed(W, X, naming="cummax|reduce_window|max")
def running_largest_of_the_batch(w, x):
    return lax.cummax(x @ w, 0)  # mixes


@mixed(W, X, naming="scan|slice|concatenate|pad|reverse|reduce_window|cum")
def associative_scan_over_the_batch(w, x):
    return lax.associative_scan(jnp.maximum, x @ w)  # mixes


@mixed(W, X, naming="reverse|rev")
def flipped_batch(w, x):
    return x @ w + jnp.flip(x @ w, 0)  # mixes


@mixed(W, X, naming="slice|concatenate")
def rolled_batch(w, x):
    return x @ w + jnp.roll(x * w[0], 1, axis=0)  # mixes


@mixed(W, X, KEY, naming="gather|sort|permut")
def shuffled_activations(w, x, key):
    order = jax.random.permutation(jax.random.wrap_key_data(key), B)
    return jnp.tanh(x @ w)[order] @ w  # mixes


@mixed(W, X, naming="slice|concatenate")
def mixup_with_a_rolled_batch(w, x):
    y = jnp.tanh(x @ w)
    return 0.7 * y + 0.3 * jnp.roll(y, 1, 0)  # mixes


@refused(W, X, naming="scan|while|slice")
def recurrence_over_the_batch(w, x):
    return lax.scan(lambda h, x: (jnp.tanh(h @ w + x), h), jnp.zeros(D), x)[0]  # mixes


@mixed(W, X, naming="sort|scatter|gather|unique|cum")
def unique_of_the_batch(w, x):
    rows = (x @ w).argmax(-1)
    return jnp.unique(rows, size=D)  # mixes


@mixed(W, X, naming="reduce_window|window")
def smoothed_over_examples(w, x):
    return lax.reduce_window(x @ w, 0.0, lax.add, (2, 1), (1, 1), "SAME")  # mixes


@refused(normal(5, 3, 1, 1), X, naming="convolution|conv")
def convolution_over_examples(kernel, x):
    names = ("NHC", "HIO", "NHC")
    return lax.conv_general_dilated(x.T[:, :, None], kernel, (1,), "SAME", dimension_numbers=names)  # mixes


@mixed(W, X, naming="fft")
def fourier_over_the_batch(w, x):
    return jnp.fft.fft(x @ w, axis=0)  # mixes


# Single examples


@mixed(W, X, naming="slice|gather")
def the_first_example(w, x):
    y = x @ w
    return y - y[0]  # mixes


@mixed(W, X, naming="slice|gather")
def every_second_example(w, x):
    y = x @ w
    return y[::2]  # mixes


@mixed(W, X, naming="slice")
def differences_of_neighbours(w, x):
    y = x @ w
    return y[1:] - y[:-1]  # mixes


@mixed(W, X, naming="slice|split")
def the_first_half_beside_all(w, x):
    y = x @ w
    first, _ = jnp.split(y, 2)  # mixes
    return y - jnp.repeat(first, 2, 0)


@mixed(W, X, 1, naming="slice|gather")
def an_example_chosen_by_number(w, x, number):
    return lax.dynamic_index_in_dim(x @ w, number)  # mixes


@mixed(W, X, naming="gather")
def gathered_from_the_batch(w, x):
    y = x @ w
    return y[jnp.array([0, 2, 1, 1])]  # mixes


@mixed(W, X, LABELS, naming="gather", batch=(1, 2))
def gathered_across_examples(w, x, labels):
    y = x @ w
    return y[labels]  # mixes


@mixed(W, X, naming="scatter|dynamic_update_slice")
def an_example_replaced(w, x):
    y = x @ w
    return y.at[0].set(1.0)  # mixes


@mixed(W, X, naming="pad")
def padded_batch(w, x):
    return jnp.pad(x @ w, ((1, 1), (0, 0)))  # mixes


@mixed(W, X, naming="concatenate")
def a_batch_joined_with_one_row(w, x):
    return jnp.concatenate([w[:1], x @ w])  # mixes


@mixed(W, X, naming="add")
def a_batch_twice_beside_every_example_twice(w, x):
    return jnp.tile(x @ w, (2, 1)) + jnp.repeat(x, 2, 0)  # mixes


# Pairs of examples


@mixed(W, X, naming="dot")
def similarity_of_all_pairs(w, x):
    y = x @ w
    return y @ y.T  # mixes


@mixed(W, X, Y, naming="dot", batch=(1, 2))
def in_batch_negatives(w, x, y):
    logits = (x @ w) @ (y @ w).T  # mixes
    return optax.softmax_cross_entropy_with_integer_labels(logits, jnp.arange(B)).mean()


@refused(X, LABELS, naming="gather", batch=(0, 1))
def rows_in_another_order(x, labels):
    return x[numpy.arange(B)[::-1].copy(), labels]  # mixes


@mixed(W, X, naming="broadcast|subtract|sub")
def distances_of_all_pairs(w, x):
    y = x @ w
    return jnp.sum((y[:, None] - y[None]) ** 2, -1)  # mixes


@mixed(W, X, LABELS, naming="broadcast|compare|subtract|eq|dot|sub", batch=(1, 2))
def triplets_across_examples(w, x, labels):
    y = x @ w
    distance = jnp.sum((y[:, None] - y[None]) ** 2, -1)  # mixes
    same = labels[:, None] == labels[None]  # mixes
    return jnp.mean(jnp.where(same, distance, jax.nn.relu(1 - distance)))


@mixed(W, X, naming="add")
def an_example_added_to_its_transpose(w, x):
    return x @ w + x.T  # mixes


# Reshapes and loops


@mixed(W, X, naming="reshape")
def reshaped_across_examples(w, x):
    return (x @ w)[:, :3].T.reshape(2, B * 3 // 2)  # mixes


@mixed(W, SEQUENCE, naming="reshape|reduce|sum")
def packed_sequences(w, x):
    flat = (x @ w).reshape(B * T, D)
    return jnp.cumsum(flat, 0)  # mixes


@mixed(W, SEQUENCE[:, :3], naming="reshape")
def packed_into_longer_sequences(w, x):
    return (x @ w).reshape(3, B, D)  # mixes


@mixed(W, X, naming=r"while|cond|reduce|predicate|\blt\b")
def loop_as_long_as_the_batch_says(w, x):
    def goes_on(y):
        return jnp.sum(y**2) < 10  # mixes

    return lax.while_loop(goes_on, lambda y: y * 1.5, x @ w)  # mixes


@mixed(W, X, naming="while|reduce|cond|sum|max")
def loop_with_a_length_from_the_batch(w, x):
    y = x @ w
    count = jnp.sum(y > 0)  # mixes
    return lax.fori_loop(0, count, lambda i, y: jnp.tanh(y), y)  # mixes


@mixed(W, X, naming=REDUCTION)
def layers_with_batch_norm_in_a_scan(w, x):
    def layer(y, _):
        y = y @ w
        mean = y.mean(0)  # mixes
        return jnp.tanh(y - mean), None

    return lax.scan(layer, x, None, length=3)[0]


@mixed({"w": normal(1, 2, D, D), "scale": normal(2, 2, D)}, X, Y, batch=(1, 2), naming=REDUCTION)
def gradient_of_batch_norm_in_a_scan(params, x, y):
    def layer(x, p):
        h = x @ p["w"]
        mean, variance = h.mean(0), h.var(0)  # mixes
        return jnp.tanh(p["scale"] * (h - mean) * lax.rsqrt(variance + 1.0)), mean

    def loss(params):
        out, means = lax.scan(layer, x, params)
        return jnp.mean((out - y) ** 2), means

    return jax.value_and_grad(loss, has_aux=True)(params)


@mixed(W, X, naming="dot")
def attention_between_examples_in_a_scan(w, x):
    def layer(h, _):
        h = jnp.tanh(h @ w)
        return h + jax.nn.softmax(h @ h.T) @ h, None  # mixes

    return lax.scan(layer, x, None, length=2)[0]


@refused(W, X, naming=REDUCTION)
def very_many_layers_with_batch_norm_in_a_scan(w, x):
    def layer(y, _):
        y = y @ w
        mean = y.mean(0)  # mixes
        return jnp.tanh(y - mean), None  # mixes

    return lax.scan(layer, x, None, length=65)[0]


@refused(W, X, naming="convert")
def integers_that_wrap_around_in_a_loop(w, x):
    """The sum over the batch wraps to 0, those over its parts do not: as floats they would add up to another number."""
    large = (x[:, :1] > -9).astype("int32") * jnp.int32(2**30)

    def body(_, total):
        return total + jnp.sum(large, 0).astype("int32").astype("float32")  # mixes

    return lax.fori_loop(0, 65, body, jnp.zeros(1))


@refused(W, X, naming="integer_pow|mul")
def a_sum_squared_in_a_loop(w, x):
    return lax.fori_loop(0, 65, lambda i, a: a**2 + x.sum(0), jnp.zeros(D))  # mixes


@refused(W, X, naming="mul")
def a_largest_scaled_in_a_loop(w, x):
    return lax.fori_loop(0, 65, lambda i, a: jnp.maximum(a * 2, x.max(0)), jnp.zeros(D))  # mixes


@mixed(W, X, naming="reduce_prod")
def a_product_over_the_batch(w, x):
    return (x @ w).prod(0)  # mixes


@mixed(W, X, naming="cholesky")
def an_operation_without_a_rule(w, x):
    return lax.linalg.cholesky(x @ w, symmetrize_input=False)  # mixes


# Loops that take a piece of the batch in each iteration


@refused(W, X, naming="hands on from one to the next what is no sum of theirs")
def online_softmax_over_pieces(w, x):
    def piece(carry, rows):
        largest, total = carry
        now = jnp.maximum(largest, rows.max())
        return (now, total * jnp.exp(largest - now) + jnp.exp(rows - now).sum()), None

    return lax.scan(piece, (-jnp.inf, 0.0), x.reshape(4, -1, D))  # mixes


@refused(W, X, naming="hands on from one to the next what is no sum of theirs")
def the_last_piece(w, x):
    return lax.scan(lambda last, rows: (rows @ w, None), jnp.zeros((1, D)), x.reshape(4, -1, D))  # mixes


@refused(W, X, naming="hands on from one to the next what is no sum of theirs")
def a_sum_that_each_piece_sees(w, x):
    def piece(total, rows):
        total = total + rows.sum(0)
        return total, total

    return lax.scan(piece, jnp.zeros(D), x.reshape(4, -1, D))  # mixes


@refused(W, X, naming="hands on from one to the next what is no sum of theirs")
def a_step_of_the_optimizer_in_each_piece(w, x):
    def piece(w, rows):
        return w - 0.1 * jax.grad(lambda w: jnp.mean((rows @ w) ** 2))(w), None

    return lax.scan(piece, w, x.reshape(4, -1, D))[0]  # mixes


@refused(W, X, naming="hands on from one to the next what is no sum of theirs")
def a_sum_and_a_maximum_in_one(w, x):
    return lax.scan(lambda c, rows: (jnp.maximum(c + rows.sum(), 0.0), None), 0.0, x.reshape(4, -1, D))[0]  # mixes


@refused(W, X, Y, batch=(1, 2), naming="and another array of the batch whole")
def pieces_beside_the_whole_batch(w, x, y):
    return lax.scan(lambda c, rows: (c + (rows @ y.T).sum(), None), 0.0, x.reshape(4, -1, D))[0]  # mixes


@refused(W, normal(5, 68 * B, D), naming="hands on from one to the next what is no sum of theirs")
def more_pieces_than_are_written_out(w, x):
    return lax.scan(lambda last, rows: (rows @ w, None), jnp.zeros((4, D)), x.reshape(68, -1, D))[0]  # mixes


@mixed(W, X, naming="qr|custom_call")
def a_custom_call_without_a_rule(w, x):
    return jnp.linalg.qr(x @ w)  # mixes


def marked(fn):
    """The lines of a function that mix examples."""
    lines, start = inspect.getsourcelines(fn)
    return [f"{__file__}:{start + number}" for number, line in enumerate(lines) if line.endswith("# mixes\n")]


# Those of which something is done twice, or kept.
REPEATED = (
    "batch_norm_after_a_layer",
    "layers_with_batch_norm_in_a_scan",
    "attention_between_examples_in_a_scan",
    "gradient_of_batch_norm",
    "batch_softmax",
    "divided_by_the_largest_of_the_batch",
    "batch_whitening",
    "determinant_of_the_covariance_for_each_example",
    "correlations_of_features_for_each_example",
    "router_balanced_over_the_batch",
    "branch_on_a_statistic",
    "contrast_with_the_mean_of_the_others",
    "log_of_a_sum",
    "norms_of_features_as_long_as_the_batch",
    "square_of_a_sum",
    "an_advantage_over_the_mean",
    "median_of_the_batch",
    "mixup_with_a_rolled_batch",
    "the_first_example",
    "the_first_half_beside_all",
    "triplets_across_examples",
    "loop_with_a_length_from_the_batch",
)


def is_at(place, fn):
    return any(place == line or place.startswith(f"{line}:") for line in marked(fn))


def judge(error, fn, naming):
    """Fail unless an error names the line and the operation."""
    assert "internal error" not in str(error)
    assert is_at(error.where, fn), f"{error}\nnot at {marked(fn)}"
    assert re.search(naming, str(error)), str(error)
    assert error.remedy, "it does not say what to do"


def folded(name, microbatches, extra=EXTRA):
    fn, args, batch, _ = MIXED[name]
    program = Program(fn, args, batch, microbatches, name, rounded_to="float32")
    with jax.enable_x64(True):  # what is left wrong is then no rounding, but for what is float32 itself
        job, module, original = lowered(program)
        take_to(module, "timed", microbatches, extra)
        return judged(program, job, module, original), notes_of(module)


@pytest.mark.parametrize("microbatches", [2, B])
def test_right_and_told(microbatches):
    made = {name: folded(name, microbatches) for name in MIXED}
    wrong = next(filter(None, faults([pair for pair, _ in made.values()])), "")
    assert not wrong, wrong
    for name, (_, notes) in made.items():
        fn, _, _, naming = MIXED[name]
        told = [note for note in notes if note.place and is_at(str(note.place), fn) and re.search(naming, str(note))]
        assert told, f"{name}: {'; '.join(map(str, notes))}\nnot at {marked(fn)}"


@pytest.mark.parametrize("name", REPEATED)
def test_nothing_is_extra_if_the_plan_says_so(name):
    with pytest.raises(
        CompileError, match=r"% of the model's work would be done again( and .*)?, or .* kept"
    ) as caught:
        folded(name, 2, extra=0)
    judge(caught.value, MIXED[name][0], "goes over the whole batch|combines the examples")


@pytest.mark.parametrize("microbatches", [2, B])
@pytest.mark.parametrize("name", REFUSED)
def test_refused(name, microbatches):
    fn, args, batch, naming = REFUSED[name]
    with pytest.raises(CompileError) as caught:
        pair_of(Program(fn, args, batch, microbatches))
    judge(caught.value, fn, naming)


@pytest.mark.parametrize("microbatches", [3, 8])
def test_a_batch_that_does_not_divide(microbatches):
    with pytest.raises(PlanError, match=rf"\b{B}\b.*\b{microbatches}\b|\b{microbatches}\b.*\b{B}\b"):
        pair_of(Program(lambda w, x: x @ w, (W, X), (1,), microbatches))


def test_microbatches_without_a_batch():
    with pytest.raises(PlanError, match="batch_argnums"):
        pair_of(Program(lambda w, x: x @ w, (W, X), (), 2))
