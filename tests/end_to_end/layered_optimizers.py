"""Optimizers on stacked parameters: what they keep is stacked likewise."""

import functools
from collections.abc import Callable
from dataclasses import replace

import jax
import jax.numpy as jnp
import optax
import zoo
from atoll.examples.palm import optimizer as palm
from layered import (
    LAYERS,
    MODELS,
    TRAINED,
    WIDTH,
    Model,
    examples,
    feed_forward,
    head,
    model,
    normal,
    over_layers,
    stack,
    train,
    with_head,
)


def params():
    """Matrices of every layer, and a vector of every layer."""
    return with_head({**stack(1), "norm": jnp.ones((LAYERS, WIDTH))})


def loss(p, x):
    return head(p["head"], over_layers(lambda p, x: feed_forward(p, x * p["norm"]), p["layers"], x))


def matrices(tree):
    """For each parameter whether it is a matrix, be it one of a stack: what weight decay is for."""
    return jax.tree.map_with_path(lambda path, one: "norm" not in str(path), tree)


def kinds(tree):
    return jax.tree.map_with_path(lambda path, one: "layers" if "layers" in str(path) else "head", tree)


def per_layer_clip(bound) -> optax.GradientTransformation:
    """Each layer's gradient of each parameter is scaled down by its own norm."""

    def update(grads, state, params=None):
        def clip(path, one):
            axes = tuple(range(int("layers" in str(path)), one.ndim))
            norm = jnp.sqrt(jnp.sum(one * one, axis=axes, keepdims=True))
            return one * jnp.minimum(1.0, bound / jnp.maximum(norm, 1e-12))

        return jax.tree.map_with_path(clip, grads), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


OPTIMIZERS: dict[str, Callable[[], optax.GradientTransformation]] = {
    "sgd": lambda: optax.sgd(0.05, momentum=0.9, nesterov=True),
    "adam": lambda: optax.adam(1e-2),
    "adam_with_a_schedule": lambda: optax.adam(optax.warmup_cosine_decay_schedule(0.0, 1e-2, 2, 10)),
    "adam_in_bfloat16": lambda: optax.adam(1e-2, mu_dtype=jnp.bfloat16),
    "adamw_masked": lambda: optax.adamw(1e-2, weight_decay=0.1, mask=matrices),
    "adamw_clipped": lambda: optax.chain(optax.clip_by_global_norm(0.1), optax.adamw(1e-2)),
    "clipped_by_layer": lambda: optax.chain(per_layer_clip(0.05), optax.adam(1e-2)),
    "clipped_by_leaf": lambda: optax.chain(optax.clip_by_block_rms(0.01), optax.sgd(0.1)),
    "clipped_by_unit": lambda: optax.chain(optax.adaptive_grad_clip(0.01), optax.sgd(0.1)),
    "adafactor": lambda: optax.adafactor(1e-2, min_dim_size_to_factor=8),
    "adafactor_over_layers": lambda: optax.adafactor(1e-2, min_dim_size_to_factor=4),
    "adafactor_unfactored": lambda: optax.adafactor(1e-2, factored=False, momentum=0.9),
    "lion": lambda: optax.lion(1e-3),
    "lamb": lambda: optax.lamb(1e-2),
    "lars": lambda: optax.lars(1e-2),
    "several_steps_at_once": lambda: optax.MultiSteps(optax.adam(1e-2), 2).gradient_transformation(),
    "average_of_updates": lambda: optax.chain(optax.sgd(0.1), optax.ema(0.9)),
    "skips_if_not_finite": lambda: optax.apply_if_finite(optax.adam(1e-2), 3),
    "centralised": lambda: optax.chain(optax.centralize(), optax.adam(1e-2)),
    "with_noise": lambda: optax.chain(optax.add_noise(1e-3, 0.55, jax.random.key(4)), optax.sgd(0.1)),
    "by_path": lambda: optax.multi_transform({"layers": optax.adamw(1e-2), "head": optax.sgd(0.1)}, kinds),
    "hyperparameters_in_the_state": lambda: optax.inject_hyperparams(optax.adamw)(learning_rate=1e-2),
    "muon": lambda: optax.contrib.muon(1e-2, ns_steps=2, muon_weight_dimension_numbers=muon_dimensions),
}


def muon_dimensions(tree):
    """Which dimensions of a stacked matrix are those of the matrix."""
    dimensions = optax.contrib.MuonDimensionNumbers(1, 2)
    return jax.tree.map_with_path(
        lambda path, one: dimensions if "layers" in str(path) and one.ndim == 3 else None, tree
    )


DIVIDED = 1e-4  # where gradients are divided by their size

# Those that combine layers of a stack with each other, or draw numbers for all of them at once: what each island has of
# them is not worked out here.
ACROSS_LAYERS = ("adafactor_over_layers", "clipped_by_unit", "muon", "with_noise")


def optimized_by(name: str) -> Model:
    case = train(loss, params(), examples(), optimizer=OPTIMIZERS[name]())
    made = Model(case, traffic=TRAINED, state_tolerance=DIVIDED)
    return replace(made, stacks=(), traffic=None) if name in ACROSS_LAYERS else made


MODELS.update({f"optimizer_{name}": functools.partial(optimized_by, name) for name in OPTIMIZERS})


# Those that are written out in the step.


def stepped(update, memory, is_split=True) -> Model:
    """A step whose update is a function of gradients, parameters and a memory.

    is_split: nothing in it combines layers, but to a scalar.
    """

    def step(state, x):
        value, grads = jax.value_and_grad(loss)(state["params"], x)
        with jax.named_scope("update"):
            state, extra = update(state, grads)
        return state, value, grads, extra

    case = zoo.Case(step, ({"params": params(), **memory}, examples()), donate=(0,), batch=(1,))
    made = Model(case, traffic=TRAINED, state_tolerance=DIVIDED)
    return made if is_split else replace(made, stacks=(), traffic=None)


@model
def optimizer_of_palm() -> Model:
    def update(state, grads):
        step = state["step"] + 1
        stacked = jax.tree.map(lambda kind: kind == "layers", kinds(grads))
        found, memory = palm.update(state["params"], grads, state["memory"], step.astype(jnp.float32), stacked)
        return {"params": found, "memory": memory, "step": step}, ()

    return stepped(update, {"memory": palm.init(params()), "step": jnp.int32(0)})


@model
def average_of_parameters() -> Model:
    def update(state, grads):
        found = jax.tree.map(lambda p, g: p - 0.1 * g, state["params"], grads)
        return {"params": found, "average": optax.incremental_update(found, state["average"], 0.1)}, ()

    return stepped(update, {"average": params()})


@model
def decay_by_path() -> Model:
    def update(state, grads):
        rates = jax.tree.map(lambda decays: 0.1 * decays, matrices(grads))
        found = jax.tree.map(lambda p, g, rate: (1 - rate) * p - 0.1 * g, state["params"], grads, rates)
        return {"params": found}, ()

    return stepped(update, {})


@model
def gradient_statistics() -> Model:
    """Of each layer and of all together."""

    def update(state, grads):
        def rows(one):
            return jnp.sqrt(jnp.sum(one**2, axis=tuple(range(1, one.ndim))))

        extra = {
            "each": jax.tree.map(rows, grads["layers"]),
            "largest": jax.tree.map(lambda one: jnp.max(rows(one)), grads["layers"]),
            "where": jax.tree.map(lambda one: jnp.argmax(rows(one)), grads["layers"]),
            "norm": optax.tree.norm(grads),
            "spread": jax.tree.map(lambda one: jnp.std(one.reshape(LAYERS, -1), axis=1), grads["layers"]),
        }
        return {"params": jax.tree.map(lambda p, g: p - 0.1 * g, state["params"], grads)}, extra

    return stepped(update, {})


@model
def rates_of_layers() -> Model:
    """Lower layers learn more slowly."""

    def update(state, grads):
        rates = 0.1 * 0.8 ** jnp.arange(LAYERS - 1, -1, -1)
        change = lambda p, g: p - rates.reshape(-1, *[1] * (p.ndim - 1)) * g  # noqa: E731
        layers = jax.tree.map(change, state["params"]["layers"], grads["layers"])
        top = state["params"]["head"] - 0.1 * grads["head"]
        return {"params": {"layers": layers, "head": top}}, ()

    return stepped(update, {})


@model
def updated_in_a_scan() -> Model:
    """The update goes over the layers in a loop of its own, to save memory."""

    def update(state, grads):
        def one(_, both):
            p, g, m = both
            m = jax.tree.map(lambda m, g: 0.9 * m + g, m, g)
            return None, (jax.tree.map(lambda p, m: p - 0.05 * m, p, m), m)

        both = (state["params"]["layers"], grads["layers"], state["momentum"]["layers"])
        _, (layers, momentum) = jax.lax.scan(one, None, both)
        found = {"layers": layers, "head": state["params"]["head"] - 0.1 * grads["head"]}
        return {"params": found, "momentum": {"layers": momentum}}, ()

    return stepped(update, {"momentum": {"layers": jax.tree.map(jnp.zeros_like, params()["layers"])}})


@model
def updated_in_a_vmap() -> Model:
    """The update is written for one layer."""

    def update(state, grads):
        def one(p, g):
            return jax.tree.map(lambda p, g: p - 0.1 * g / (1e-3 + jnp.linalg.norm(g)), p, g)

        found = {
            "layers": jax.vmap(one)(state["params"]["layers"], grads["layers"]),
            "head": state["params"]["head"] - 0.1 * grads["head"],
        }
        return {"params": found}, ()

    return stepped(update, {})


@model
def gradients_as_one_vector() -> Model:
    """All parameters as one long vector: what is of one layer is not one piece of it."""

    def update(state, grads):
        flat, unravel = jax.flatten_util.ravel_pytree(state["params"])
        change, _ = jax.flatten_util.ravel_pytree(grads)
        change = change / (1e-3 + jnp.abs(change))
        return {"params": unravel(flat - 0.01 * change)}, ()

    return stepped(update, {}, is_split=False)


@model
def gradients_sorted() -> Model:
    """Only the larger half of each leaf's gradients is used."""

    def update(state, grads):
        def change(p, g):
            bound = jnp.sort(jnp.abs(g).ravel())[g.size // 2]
            return p - 0.1 * jnp.where(jnp.abs(g) > bound, g, 0)

        return {"params": jax.tree.map(change, state["params"], grads)}, ()

    return stepped(update, {}, is_split=False)


@model
def projected_gradients() -> Model:
    """Gradients of low rank, as GaLore has them: a decomposition of each layer's matrix."""

    def update(state, grads):
        def change(p, g):
            if g.ndim < 3:
                return p - 0.1 * g
            basis = state["basis"]
            low = jnp.einsum("ldh,dr->lrh", g, basis) if g.shape[1] == WIDTH else jnp.einsum("lhd,dr->lhr", g, basis)
            back = (
                jnp.einsum("lrh,dr->ldh", low, basis) if g.shape[1] == WIDTH else jnp.einsum("lhr,dr->lhd", low, basis)
            )
            return p - 0.1 * back

        return {**state, "params": jax.tree.map(change, state["params"], grads)}, ()

    return replace(stepped(update, {"basis": normal(60, WIDTH, 3)}), traffic=None)  # the basis crosses as well


@model
def two_optimizers_by_step() -> Model:
    """A branch of the update that a counter chooses."""

    def update(state, grads):
        def plain(params, momentum):
            return jax.tree.map(lambda p, g: p - 0.1 * g, params, grads), momentum

        def heavy(params, momentum):
            momentum = jax.tree.map(lambda m, g: 0.9 * m + g, momentum, grads)
            return jax.tree.map(lambda p, m: p - 0.05 * m, params, momentum), momentum

        found, momentum = jax.lax.cond(state["step"] < 1, plain, heavy, state["params"], state["momentum"])
        return {"params": found, "momentum": momentum, "step": state["step"] + 1}, ()

    return stepped(update, {"momentum": jax.tree.map(jnp.zeros_like, params()), "step": jnp.int32(0)})


@model
def update_left_out_by_a_branch() -> Model:
    """Where the gradients are too large nothing is updated: a branch over the whole state."""

    def update(state, grads):
        norm = optax.tree.norm(grads)

        def change(params):
            return jax.tree.map(lambda p, g: p - 0.1 * g, params, grads)

        params = jax.lax.cond(norm < 0.5, change, lambda params: params, state["params"])
        return {"params": params}, norm

    return stepped(update, {})
