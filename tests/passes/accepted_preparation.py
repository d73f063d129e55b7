"""Data preparation that mixes examples, before a model that does not."""

import jax
import jax.numpy as jnp
from accepted import KEY, LABELS, SEQUENCE, B, D, W, X, Y, accepted, grads
from jax import lax


def loss(w, x, y):
    return jnp.mean((jnp.tanh(x @ w) - y) ** 2)


@accepted(W, X, Y, KEY, batch=(1, 2))
def shuffled(w, x, y, key):
    order = jax.random.permutation(jax.random.wrap_key_data(key), B)
    return jax.value_and_grad(loss)(w, x[order], y[order]), order, x[order]


@accepted(W, X, Y, KEY, batch=(1, 2))
def shuffled_each_by_itself(w, x, y, key):
    first, second = jax.random.split(jax.random.wrap_key_data(key))
    x, y = jax.random.permutation(first, x), jax.random.permutation(second, y)
    return jax.value_and_grad(loss)(w, x, y)


@accepted(W, X, Y, KEY, batch=(1, 2))
def mixed_with_the_flipped_batch(w, x, y, key):
    share = jax.random.uniform(jax.random.wrap_key_data(key), (B, 1), x.dtype)
    return jax.value_and_grad(loss)(w, share * x + (1 - share) * x[::-1], y + jnp.flip(y, 0))


@accepted(W, X, Y, batch=(1, 2))
@grads
def rolled(w, x, y):
    return loss(w, jnp.roll(x, 1, 0), y) + loss(w, x, jnp.roll(y, -2, 0))


@accepted(W, X, LABELS, batch=(1, 2))
def ranks_and_normalised_advantages(w, x, rewards):
    rewards = rewards * 1.5
    advantages = (rewards - rewards.mean()) / (rewards.std() + 1e-6)
    rank = jnp.argsort(jnp.argsort(-advantages))

    def objective(w):
        return jnp.mean(jax.nn.log_sigmoid((x @ w).sum(1)) * advantages * (rank < 2))

    return jax.value_and_grad(objective)(w), rank, jnp.cumsum(rewards), jnp.median(x, 0)


@accepted(W, SEQUENCE, axes=(None, 1))
@grads
def neighbours_along_another_axis(w, x):
    return jnp.mean(jnp.tanh((x + jnp.flip(x, 1) + jnp.roll(x, 1, 0)) @ w) ** 2)


@accepted(W, X, Y, batch=(1, 2))
def discounted_backwards_over_the_batch(w, x, rewards):
    """A rollout in one array: returns are sums over what comes later."""

    def back(later, reward):
        later = reward + 0.9 * later
        return later, later

    _, returns = lax.scan(back, jnp.zeros_like(w[0]), rewards, reverse=True)
    returns = (returns - returns.mean()) / returns.std()
    return jax.value_and_grad(loss)(w, x, returns), returns


@accepted(W, X, Y, jnp.int32(3), batch=(1, 2))
def rows_that_a_number_chooses(w, x, y, first):
    chosen = lax.dynamic_slice_in_dim(jnp.concatenate([x, x]), first, B)
    return jax.value_and_grad(loss)(w, chosen, y), x.at[first].set(0.0) @ w


@accepted(W, X, Y, LABELS, batch=(1, 2, 3))
@grads
def which_pairs_have_one_label(w, x, y, labels):
    """How many there are is known before the model; what is divided by it takes the work of the model as a whole."""
    h = jnp.concatenate([jnp.tanh(x @ w), jnp.tanh(y @ w)])
    label = jnp.concatenate([labels, labels])
    is_same = (label[:, None] == label) & ~jnp.eye(2 * B, dtype=bool)
    scores = jax.nn.log_softmax(h @ h.T)
    return -jnp.mean((scores * is_same).sum(1) / is_same.sum(1))


@accepted(W, X, Y, LABELS, batch=(1, 2, 3))
@grads
def pairs_that_some_labels_name(w, x, y, labels):
    named = labels[: B - 1]
    return jnp.mean((jnp.tanh(x @ w)[named] - y[named]) ** 2)


@accepted(W, X, Y, KEY, batch=(1, 2))
def a_step_for_each_piece_of_the_shuffled_batch(w, x, y, key):
    """As PPO has it: several epochs, each in another order."""

    def epoch(w, key):
        order = jax.random.permutation(key, 2 * B)
        pieces = jax.tree.map(lambda one: one[order].reshape(2, B, D), (x, y))
        return lax.scan(lambda w, piece: (w - 0.1 * jax.grad(loss)(w, *piece), loss(w, *piece)), w, pieces)

    x, y = jnp.concatenate([x, y]), jnp.concatenate([y, x + 1])
    return lax.scan(epoch, w, jax.random.split(jax.random.wrap_key_data(key)))


@accepted(W, X, Y, KEY, batch=(1, 2))
def none_of_the_shuffled_batch(w, x, y, key):
    order = jax.random.permutation(jax.random.wrap_key_data(key), B)
    return jax.value_and_grad(loss)(w, x[order], y[order]), x[order][:0]
