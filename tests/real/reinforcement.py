"""Agents: losses as rlax and CleanRL write them."""

import functools

import jax
import jax.numpy as jnp
import optax
from jax import lax
from programs import B, Program, layers, mlp, normal, real, weights, whole

SEEN, A, T = 6, 4, 5
DISCOUNT = 0.9


def descend(params, grads, rate=0.05):
    return jax.tree.map(lambda p, g: p - rate * g, params, grads)


def transitions():
    return {
        "obs": normal(11, B, SEEN),
        "action": whole(12, A, B),
        "reward": normal(13, B),
        "next": normal(14, B, SEEN),
        "done": whole(15, 2, B).astype(bool),
    }


@real
def deep_q_learning():
    """The loss of one transition, under vmap; the target network is copied every second step."""

    def td_error(params, target, t):
        q = mlp(params, t["obs"])[t["action"]]
        best = jnp.argmax(mlp(params, t["next"]))
        aim = t["reward"] + DISCOUNT * (1 - t["done"]) * mlp(target, t["next"])[best]
        return q - lax.stop_gradient(aim)

    def step(state, batch):
        def loss_fn(params):
            errors = jax.vmap(td_error, in_axes=(None, None, 0))(params, state["target"], batch)
            return jnp.mean(optax.huber_loss(errors)), jnp.abs(errors)

        (loss, priorities), grads = jax.value_and_grad(loss_fn, has_aux=True)(state["params"])
        params, steps = descend(state["params"], grads), state["steps"] + 1
        target = optax.periodic_update(params, state["target"], steps, 2)
        return {"params": params, "target": target, "steps": steps}, loss, priorities

    state = {"params": layers(1, SEEN, 8, A), "target": layers(1, SEEN, 8, A), "steps": jnp.int32(0)}
    return Program(step, (state, transitions()))


@real
def distributional_q_learning():
    """C51: the distribution of the next state is moved and projected onto the atoms."""
    atoms = jnp.linspace(-2.0, 2.0, 5)

    def loss_of_one(params, target, t):
        logits = mlp(params, t["obs"]).reshape(A, 5)[t["action"]]
        after = jax.nn.softmax(mlp(target, t["next"]).reshape(A, 5))
        after = after[jnp.argmax(after @ atoms)]
        moved = jnp.clip(t["reward"] + DISCOUNT * (1 - t["done"]) * atoms, -2, 2)
        share = jnp.clip(1 - jnp.abs(moved[None] - atoms[:, None]) / 1.0, 0, 1)
        return optax.softmax_cross_entropy(logits, lax.stop_gradient(share @ after))

    def step(params, batch, target):
        loss_fn = lambda p: jnp.mean(jax.vmap(functools.partial(loss_of_one, p, target))(batch))  # noqa: E731
        loss, grads = jax.value_and_grad(loss_fn)(params)
        return descend(params, grads), loss, grads

    return Program(step, (layers(1, SEEN, 8, A * 5), transitions(), layers(4, SEEN, 8, A * 5)))


@real
def quantile_regression():
    taus = (jnp.arange(5) + 0.5) / 5

    def step(params, batch, target):
        def loss_fn(params):
            found = jnp.take_along_axis(mlp(params, batch["obs"]).reshape(-1, A, 5), batch["action"][:, None, None], 1)[
                :, 0
            ]
            after = mlp(target, batch["next"]).reshape(-1, A, 5)
            after = jnp.take_along_axis(after, after.mean(-1).argmax(-1)[:, None, None], 1)[:, 0]
            error = (batch["reward"][:, None] + DISCOUNT * after)[:, None, :] - found[:, :, None]
            return jnp.mean(jnp.abs(taus[:, None] - (error < 0)) * optax.huber_loss(error))

        loss, grads = jax.value_and_grad(loss_fn)(params)
        return descend(params, grads), loss

    return Program(step, (layers(1, SEEN, 8, A * 5), transitions(), layers(4, SEEN, 8, A * 5)))


def ppo_loss(params, obs, action, old, advantage, returns):
    h = jnp.tanh(obs @ params["trunk"])
    log_probs = jax.nn.log_softmax(h @ params["policy"])
    log_prob = jnp.take_along_axis(log_probs, action[:, None], 1)[:, 0]
    ratio = jnp.exp(log_prob - old)
    policy = -jnp.minimum(ratio * advantage, jnp.clip(ratio, 0.8, 1.2) * advantage).mean()
    value = 0.5 * jnp.mean((h @ params["value"] - returns) ** 2)
    entropy = -jnp.mean(jnp.sum(jnp.exp(log_probs) * log_probs, -1))
    metrics = {"kl": jnp.mean(ratio - 1 - jnp.log(ratio)), "clipped": jnp.mean(jnp.abs(ratio - 1) > 0.2)}
    return policy + 0.5 * value - 0.01 * entropy, metrics


def ppo_params():
    return {"trunk": weights(1, SEEN, 8), "policy": weights(2, 8, A), "value": normal(3, 8)}


def rollout():
    return normal(4, B, SEEN), whole(5, A, B), -jnp.abs(normal(6, B)), normal(7, B), normal(8, B)


@real(double=True)
def proximal_policy_optimisation():
    optimizer = optax.chain(optax.clip_by_global_norm(0.5), optax.adam(3e-3, eps=1e-5))

    def step(params, memory, *batch):
        (loss, metrics), grads = jax.value_and_grad(ppo_loss, has_aux=True)(params, *batch)
        updates, memory = optimizer.update(grads, memory)
        return optax.apply_updates(params, updates), memory, {"loss": loss, **metrics}

    params = ppo_params()
    return Program(step, (params, optimizer.init(params), *rollout()), batch=(2, 3, 4, 5, 6), state=2)


@real(double=True)
def epochs_over_shuffled_minibatches():
    """PPO as libraries have it: an optimizer step for each minibatch of the rollout, in another order in each epoch."""

    def step(params, key, *rollout):
        def epoch(params, key):
            order = jax.random.permutation(key, B)
            minibatches = jax.tree.map(lambda x: x[order].reshape(2, -1, *x.shape[1:]), rollout)

            def update(params, minibatch):
                return descend(params, jax.grad(ppo_loss, has_aux=True)(params, *minibatch)[0]), None

            return lax.scan(update, params, minibatches)[0], None

        return lax.scan(epoch, params, jax.random.split(jax.random.wrap_key_data(key), 2))[0]

    return Program(step, (ppo_params(), jnp.asarray([0, 1], "uint32"), *rollout()), batch=(2, 3, 4, 5, 6))


@real
def advantages_over_the_mean_of_the_batch():
    """Normalised advantages: arguments alone, so that the sums over the batch stand before the model."""

    def step(params, obs, action, old, advantage, returns):
        advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
        (loss, _), grads = jax.value_and_grad(ppo_loss, has_aux=True)(params, obs, action, old, advantage, returns)
        return descend(params, grads), loss

    return Program(step, (ppo_params(), *rollout()), batch=(1, 2, 3, 4, 5))


@real
def advantages_over_the_mean_of_the_critic():
    """The critic is part of the step, so every part of the batch would go through it twice."""

    def step(params, obs, action, old, _advantage, returns):
        value = jnp.tanh(obs @ params["trunk"]) @ params["value"]
        advantage = returns - value
        advantage = advantage - advantage.mean()
        (loss, _), grads = jax.value_and_grad(ppo_loss, has_aux=True)(params, obs, action, old, advantage, returns)
        return descend(params, grads), loss

    return Program(step, (ppo_params(), *rollout()), batch=(1, 2, 3, 4, 5))


def generalised_advantages(rewards, values, last):
    def back(carry, now):
        reward, value = now
        advantage, after = carry
        advantage = reward + DISCOUNT * after - value + DISCOUNT * 0.95 * advantage
        return (advantage, value), advantage

    return lax.scan(back, (jnp.zeros_like(last), last), (rewards, values), reverse=True)[1]


@real
def actor_critic_over_time():
    """A rollout has time first, as PureJaxRL and CleanRL keep it: the environments are on axis 1."""

    def step(params, obs, actions, rewards, last):
        def loss_fn(params):
            h = jnp.tanh(obs @ params["trunk"])
            values = h @ params["value"]
            advantages = generalised_advantages(
                rewards, lax.stop_gradient(values), jnp.tanh(last @ params["trunk"]) @ params["value"]
            )
            chosen = jnp.take_along_axis(jax.nn.log_softmax(h @ params["policy"]), actions[..., None], -1)[..., 0]
            return jnp.mean(
                -chosen * lax.stop_gradient(advantages) + (values - lax.stop_gradient(values + advantages)) ** 2
            )

        loss, grads = jax.value_and_grad(loss_fn)(params)
        return descend(params, grads), loss, grads

    args = (ppo_params(), normal(1, T, B, SEEN), whole(2, A, T, B), normal(3, T, B), normal(4, B, SEEN))
    return Program(step, args, axes=(None, 1, 1, 1, 0))


@real
def off_policy_corrections():
    """IMPALA: V-trace of one trajectory, under vmap."""

    def vtrace(values, last, rewards, rho):
        after = jnp.append(values[1:], last)
        delta = jnp.minimum(rho, 1) * (rewards + DISCOUNT * after - values)

        def back(total, now):
            d, c = now
            return d + DISCOUNT * c * total, d + DISCOUNT * c * total

        return values + lax.scan(back, 0.0, (delta, jnp.minimum(rho, 1)), reverse=True)[1]

    def step(params, obs, actions, rewards, behaviour):
        def loss_of_one(params, obs, actions, rewards, behaviour):
            h = jnp.tanh(obs @ params["trunk"])
            values, log_pi = h @ params["value"], jax.nn.log_softmax(h @ params["policy"])
            log_pi = log_pi[jnp.arange(T), actions]
            aims = lax.stop_gradient(vtrace(values, values[-1], rewards, jnp.exp(log_pi - behaviour)))
            return jnp.sum((values - aims) ** 2 - log_pi * lax.stop_gradient(aims - values))

        losses = lambda p: jax.vmap(functools.partial(loss_of_one, p))(obs, actions, rewards, behaviour)  # noqa: E731
        loss, grads = jax.value_and_grad(lambda p: losses(p).mean())(params)
        return descend(params, grads), loss

    args = (ppo_params(), normal(1, B, T, SEEN), whole(2, A, B, T), normal(3, B, T), -jnp.abs(normal(4, B, T)))
    return Program(step, args, batch=(1, 2, 3, 4))


@real(double=True)
def soft_actor_critic():
    """Two critics, an actor and a temperature, each with a loss of its own; actions are drawn from a key."""

    def act(actor, obs, key):
        mean, log_std = jnp.split(mlp(actor, obs), 2, axis=-1)
        noise = jax.random.normal(key, mean.shape)
        action = jnp.tanh(mean + jnp.exp(log_std) * noise)
        return action, jnp.sum(-0.5 * noise**2 - log_std - jnp.log(1 - action**2 + 1e-6), -1)

    def value(critics, obs, action):
        return jax.vmap(lambda critic: mlp(critic, jnp.concatenate([obs, action], -1))[:, 0])(critics)

    def step(state, key, batch):
        key, one, two = jax.random.split(key, 3)
        after, log_prob = act(state["actor"], batch["next"], one)
        aim = batch["reward"] + DISCOUNT * (
            value(state["target"], batch["next"], after).min(0) - jnp.exp(state["alpha"]) * log_prob
        )

        def critic_loss(critics):
            return jnp.mean((value(critics, batch["obs"], batch["act"]) - lax.stop_gradient(aim)) ** 2)

        def actor_loss(actor):
            action, log_prob = act(actor, batch["obs"], two)
            return jnp.mean(
                jnp.exp(state["alpha"]) * log_prob - value(state["critics"], batch["obs"], action).min(0)
            ), log_prob

        critic, critic_grads = jax.value_and_grad(critic_loss)(state["critics"])
        (actor, log_prob), actor_grads = jax.value_and_grad(actor_loss, has_aux=True)(state["actor"])
        alpha_grad = jax.grad(lambda a: -jnp.mean(a * (log_prob - 2)))(state["alpha"])
        critics = descend(state["critics"], critic_grads)
        new = {
            "actor": descend(state["actor"], actor_grads),
            "critics": critics,
            "alpha": state["alpha"] - 0.01 * alpha_grad,
        }
        return {**new, "target": optax.incremental_update(critics, state["target"], 0.05)}, key, (critic, actor)

    critics = jax.tree.map(lambda *both: jnp.stack(both), layers(1, SEEN + 2, 8, 1), layers(4, SEEN + 2, 8, 1))
    state = {"actor": layers(7, SEEN, 8, 4), "critics": critics, "alpha": jnp.float32(0.1), "target": critics}
    batch = {
        "obs": normal(1, B, SEEN),
        "act": jnp.tanh(normal(2, B, 2)),
        "reward": normal(3, B),
        "next": normal(4, B, SEEN),
    }
    return Program(step, (state, jax.random.key(5), batch), batch=(2,), state=2)


@real
def decision_transformer():
    """Returns, states and actions of a trajectory take turns in one sequence."""

    def step(params, returns, obs, actions):
        def loss_fn(params):
            parts = returns[..., None] * params["return"], obs @ params["obs"], params["action"][actions]
            x = jnp.stack(parts, axis=2).reshape(-1, 3 * T, 8)
            scores = jnp.where(jnp.tril(jnp.ones((3 * T, 3 * T), bool)), x @ params["mix"] @ x.swapaxes(1, 2), -1e9)
            x = jax.nn.softmax(scores / 8) @ x
            logits = x.reshape(-1, T, 3, 8)[:, :, 1] @ params["action"].T
            return optax.softmax_cross_entropy_with_integer_labels(logits, actions).mean()

        loss, grads = jax.value_and_grad(loss_fn)(params)
        return descend(params, grads), loss

    params = {"return": normal(1, 8), "obs": weights(2, SEEN, 8), "action": normal(3, A, 8), "mix": weights(4, 8, 8)}
    return Program(step, (params, normal(5, B, T), normal(6, B, T, SEEN), whole(7, A, B, T)), batch=(1, 2, 3))


@real
def bandit_with_a_posterior():
    """A linear model of rewards: sums over the batch make the posterior, from which the next parameters are drawn."""

    def step(precision, moment, key, context, reward):
        precision = precision + context.T @ context
        moment = moment + context.T @ reward
        mean = jnp.linalg.solve(precision, moment)
        key, drawn = jax.random.split(key)
        return precision, moment, key, mean + 0.1 * jax.random.normal(drawn, mean.shape)

    return Program(
        step,
        (jnp.eye(SEEN), jnp.zeros(SEEN), jax.random.key(0), normal(1, B, SEEN), normal(2, B)),
        batch=(3, 4),
        state=3,
    )


@real
def model_of_the_world():
    """MuZero: the model is unrolled along the actions, and gradients are halved at each step."""

    def step(params, obs, actions, rewards):
        def loss_of_one(params, obs, actions, rewards):
            def unroll(h, now):
                action, reward = now
                h = jnp.tanh(h @ params["h"] + params["a"][action])
                h = 0.5 * h + lax.stop_gradient(0.5 * h)
                return h, (h @ params["r"] - reward) ** 2

            return lax.scan(unroll, jnp.tanh(obs @ params["o"]), (actions, rewards))[1].mean()

        loss_fn = lambda p: jax.vmap(loss_of_one, (None, 0, 0, 0))(p, obs, actions, rewards).mean()  # noqa: E731
        loss, grads = jax.value_and_grad(loss_fn)(params)
        return descend(params, grads), loss, grads

    params = {"o": weights(1, SEEN, 8), "h": weights(2, 8, 8), "a": normal(3, A, 8), "r": normal(4, 8)}
    return Program(step, (params, normal(5, B, SEEN), whole(6, A, B, T), normal(7, B, T)), batch=(1, 2, 3))


@real
def replayed_by_priority():
    """Double and dueling deep Q: weights by the chances of a draw, over the largest of them; errors are what next
    draws go by, and the target follows every second step."""
    optimizer = optax.chain(optax.clip_by_global_norm(10.0), optax.adam(1e-3))

    def values(params, seen):
        h = jnp.tanh(mlp(params["trunk"], seen))
        gain = mlp(params["gain"], h)
        return mlp(params["state"], h) + gain - gain.mean(-1, keepdims=True)

    def step(state, batch, chances):
        def loss_fn(params):
            best = values(params, batch["next"]).argmax(-1)[:, None]
            later = jnp.take_along_axis(values(state["target"], batch["next"]), best, 1)[:, 0]
            aim = batch["reward"] + 0.9 * (1 - batch["done"]) * later
            ours = jnp.take_along_axis(values(params, batch["obs"]), batch["action"][:, None], 1)[:, 0]
            error, weight = lax.stop_gradient(aim) - ours, (B * chances) ** -0.4
            return jnp.mean(weight / weight.max() * optax.huber_loss(error)), jnp.abs(error) + 1e-6

        (loss, priorities), grads = jax.value_and_grad(loss_fn, has_aux=True)(state["params"])
        updates, memory = optimizer.update(grads, state["memory"], state["params"])
        params, count = optax.apply_updates(state["params"], updates), state["count"] + 1
        target = optax.periodic_update(params, state["target"], count, 2)
        return {"params": params, "memory": memory, "target": target, "count": count}, loss, priorities

    params = {"trunk": layers(1, SEEN, 12, 8), "gain": layers(4, 8, 8, A), "state": layers(6, 8, 8, 1)}
    state = {"params": params, "memory": optimizer.init(params), "target": jax.tree.map(jnp.copy, params)}
    return Program(step, (state | {"count": jnp.int32(0)}, transitions(), jax.nn.softmax(normal(9, B))), batch=(1, 2))
