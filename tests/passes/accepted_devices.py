"""Programs with `shard_map`: weights or examples divided over devices, by hand."""

import jax
import jax.numpy as jnp
import numpy
from accepted import grads, normal
from jax import lax
from jax.sharding import PartitionSpec as P

B, D = 8, 4
W1, W2, X, Y = normal(1, D, 2 * D, scale=0.5), normal(2, 2 * D, D, scale=0.5), normal(3, B, D), normal(4, B, D)
LABELS = numpy.arange(B) * 3 % (2 * D)

PROGRAMS = {}


def accepted(*args, batch=(1,)):
    """Add a function with its arguments, by default of which the second is the batch."""

    def add(fn):
        PROGRAMS[fn.__name__] = (fn, args, batch)
        return fn

    return add


# For each operation a program that needs its row of the table.
NEEDED_BY_DEVICES = {
    "sdy.manual_computation": "tensor_parallel",
    "stablehlo.all_gather": "places_in_the_mesh",
    "stablehlo.all_reduce": "tensor_parallel",
    "stablehlo.all_to_all": "experts_over_devices",
    "stablehlo.collective_permute": "places_in_the_mesh",
    "stablehlo.reduce_scatter": "places_in_the_mesh",
}

# Devices are needed only where a program is compiled.
MESH = jax.sharding.AbstractMesh((2, 2), ("data", "model"), axis_types=(jax.sharding.AxisType.Auto,) * 2)


def mapped(*ins, out, check=True):
    """The function on a mesh, by what each device has of its arguments and results."""

    def decorate(fn):
        return jax.shard_map(fn, mesh=MESH, in_specs=ins, out_specs=out, check_vma=check)

    return decorate


@accepted((W1, W2), X, Y, batch=(1, 2))
@grads
def tensor_parallel(weights, x, y):
    @mapped(P(None, "model"), P("model"), P("data"), out=P("data"))
    def mlp(first, second, x):
        return lax.psum(jnp.tanh(x @ first) @ second, "model")

    return jnp.mean((mlp(*weights, x) - y) ** 2)


@accepted((W1, W2), X)
@grads
def over_the_model_alone(weights, x):
    @mapped(P(None, "model"), P("model"), P(), out=P())
    def mlp(first, second, x):
        return lax.psum(jnp.tanh(x @ first) @ second, "model")

    return jnp.mean(mlp(*weights, x) ** 2)


def _data_parallel(check):
    @mapped(P(), P(), P("data"), P("data"), out=P(), check=check)
    def step(first, second, x, y):
        def loss(weights):
            return jnp.mean((jnp.tanh(x @ weights[0]) @ weights[1] - y) ** 2)

        return lax.pmean(jax.value_and_grad(loss)((first, second)), "data")

    return step


@accepted((W1, W2), X, Y, batch=(1, 2))
def gradients_summed_over_data(weights, x, y):
    return _data_parallel(check=False)(*weights, x, y)


@accepted((W1, W2), X, Y, batch=(1, 2))
def gradients_summed_over_data_by_jax(weights, x, y):
    return _data_parallel(check=True)(*weights, x, y)


@accepted(W1, X, LABELS, batch=(1, 2))
@grads
def softmax_over_devices(w, x, labels):
    @mapped(P(None, "model"), P("data"), P("data"), out=P("data"))
    def losses(w, x, labels):
        logits = x @ w
        greatest = lax.pmax(lax.stop_gradient(logits.max(-1)), "model")
        total = lax.psum(jnp.exp(logits - greatest[:, None]).sum(-1), "model")
        own = labels - lax.axis_index("model") * logits.shape[-1]
        is_here = (own >= 0) & (own < logits.shape[-1])
        found = jnp.take_along_axis(logits, jnp.clip(own, 0, logits.shape[-1] - 1)[:, None], 1)[:, 0]
        return jnp.log(total) + greatest - lax.psum(jnp.where(is_here, found, 0.0), "model")

    return losses(w, x, labels).mean()


@accepted(normal(5, D, D), normal(6, B, 6, D))
@grads
def heads_over_devices(w, x):
    """A softmax over blocks of keys, in a loop, as fast attention does it."""

    @mapped(P("data", None, "model"), out=P("data", None, "model"))
    def attention(x):
        def block(carry, keys):
            greatest, total, out = carry
            scores = jnp.einsum("bthd,bshd->bhts", x, keys)
            now = jnp.maximum(greatest, scores.max(-1))
            old, new = jnp.exp(greatest - now), jnp.exp(scores - now[..., None])
            return (
                now,
                total * old + new.sum(-1),
                out * old[..., None] + jnp.einsum("bhts,bshd->bhtd", new, keys),
            ), None

        sizes = x.shape[0], x.shape[2], x.shape[1]
        start = jnp.full(sizes, -1e9), jnp.zeros(sizes), jnp.zeros((*sizes, x.shape[3]))
        start = jax.tree.map(lambda one: lax.pcast(one, ("data", "model"), to="varying"), start)
        keys = jnp.moveaxis(x.reshape(x.shape[0], 3, 2, *x.shape[2:]), 1, 0)
        (_, total, out), _ = lax.scan(block, start, keys)
        return jnp.einsum("bhtd->bthd", out / total[..., None])

    x = (x @ w).reshape(-1, 6, 2, 2)
    return jnp.sum(attention(x) ** 2)


@accepted(normal(7, 4, D, D, scale=0.5), normal(8, D, 4), X, batch=(2,))
@grads
def experts_over_devices(experts, router, x):
    """Every token goes to every device, and comes back."""

    @mapped(P("model"), P(), P("data"), out=P("data"), check=False)
    def layer(experts, router, x):
        gates = jax.nn.softmax(x @ router)
        sent = jnp.einsum("te,td->etd", gates, x)
        taken = lax.all_to_all(sent, "model", 0, 1, tiled=True)
        made = jnp.tanh(jnp.einsum("etd,edf->etf", taken, experts))
        return lax.all_to_all(made, "model", 1, 0, tiled=True).sum(0)

    return jnp.sum(layer(experts, router, x) ** 2)


@accepted(W1, X)
@grads
def both_axes_divide_examples(w, x):
    @mapped(P("data"), P(("data", "model")), out=P(("data", "model")))
    def layer(w, x):
        return jnp.tanh(x @ lax.all_gather(w, "data", tiled=True))

    @mapped(P("data"), P(), out=P("data"))
    def second(x, w):
        return x @ w.T

    return jnp.mean(second(layer(w, x), w) ** 2)


@accepted(W1, X)
def places_in_the_mesh(w, x):
    """Whatever depends on the device or on what others have of the same microbatch."""

    @mapped(P("model"), P("data"), out=(P(("data", "model")), P("data"), P("data"), P()), check=False)
    def part(w, x):
        own = x + lax.axis_index("data") * 10 + lax.axis_index("model")
        turned = lax.ppermute(own, "data", [(0, 1)])
        scattered = lax.psum_scatter(x, "data", scatter_dimension=1, tiled=True)
        all_of = lax.all_gather(x, "data", axis=0)
        return own, turned + all_of.sum(0), scattered @ w, lax.pmax(x.max(), ("data", "model"))

    return part(w, x)


@accepted(W1, X)
def a_mask_that_devices_make(w, x):
    """The same for every microbatch, each of which takes its part."""

    @mapped(P("data"), out=P("data"))
    def mask(counted):
        return (counted * 3 + lax.axis_index("data")) % 2

    return (x * mask(jnp.arange(len(x)))[:, None]) @ w


@accepted(W1, X)
@grads
def examples_that_a_device_counts(w, x):
    """It goes on counting from one microbatch to the next."""

    @mapped(P(), P("data"), out=P("data"))
    def layer(w, x):
        return jnp.tanh(x @ w) * (jnp.arange(len(x))[:, None] + 10 * lax.axis_index("data"))

    return jnp.sum(layer(w, x) ** 2)


@accepted(W1, X)
def a_step_of_the_device(w, x):
    """Its update is linear in sums over the batch."""

    @mapped(P(), P("data"), out=P())
    def step(w, x):
        return w - 0.1 * lax.pmean(
            jax.grad(lambda w: jnp.sum((x @ lax.pcast(w, "data", to="varying")) ** 2))(w), "data"
        )

    return step(w, x)


@accepted((W1, normal(9, *W1.shape) ** 2, normal(9, *W1.shape)), X, Y, batch=(1, 2))
def an_optimizer_on_devices(state, x, y):
    """All of a train step in one `shard_map`: what follows from the sum of the gradients is done once."""

    @mapped(P(None, "model"), P("data"), P("data"), out=(P(None, "model"), P()))
    def step(state, x, y):
        w, second, first = state

        def loss_fn(w):
            return jnp.mean((jnp.tanh(lax.psum(jnp.tanh(x @ w), "model")) - y) ** 2)

        loss, gradient = lax.pmean(jax.value_and_grad(loss_fn)(w), "data")
        scale = lax.rsqrt(lax.psum(jnp.sum(gradient**2), "model") + 1.0)
        first, second = 0.9 * first + 0.1 * gradient * scale, 0.9 * second + 0.1 * (gradient * scale) ** 2
        return (w - 0.1 * first / (jnp.sqrt(second) + 1e-3), second, first), jnp.sqrt(loss)

    return step(state, x, y)


@accepted(W1, X, LABELS, batch=(1, 2))
def a_mean_over_those_that_count(w, x, labels):
    """Gradients need the number of them before, and the optimizer needs the gradients."""

    @mapped(P(), P("data"), P("data"), out=P(), check=False)
    def step(w, x, labels):
        weights = (labels % 3 > 0).astype(x.dtype)
        count = lax.psum(weights.sum(), "data")

        def loss_fn(w):
            return jnp.sum(weights * jnp.sum((x @ w) ** 2, 1)) / count

        gradient = lax.psum(jax.grad(loss_fn)(w), "data")
        return w - gradient / jnp.sqrt(jnp.sum(gradient**2))

    return step(w, x, labels)
