"""A policy that learns from its own answers, by GRPO; only the jobs and `main` at the end know of atoll."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy
import optax
from atoll.examples.decoder import Config, Params, init_params, logits

import atoll

MODEL = Config(vocabulary=8, width=16, heads=2, layers=2, length=8)
PROMPT = 2  # tokens of a question; the rest of the length is the answer
QUESTIONS, GROUP = 8, 8  # how many are asked at a time, and how many answers each gets

OPTIMIZER = optax.adam(1e-2)

State = dict[str, Any]


# The sampler.


def sample(params: Params, prompts: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Answers token by token, and the logarithm of the probability at which each token was drawn.

    Each token goes through the model with all before it; the serving example shows a cache.
    """

    def draw(tokens: jax.Array, turn: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        place, key = turn
        scores = jax.lax.dynamic_index_in_dim(logits(params, tokens, MODEL), place - 1, axis=1, keepdims=False)
        token = jax.random.categorical(key, scores)
        drawn = jnp.take_along_axis(jax.nn.log_softmax(scores), token[:, None], axis=-1)[:, 0]
        return tokens.at[:, place].set(token), drawn

    tokens = jnp.pad(prompts, ((0, 0), (0, MODEL.length - PROMPT)))
    places = jnp.arange(PROMPT, MODEL.length)
    tokens, drawn = jax.lax.scan(draw, tokens, (places, jax.random.split(key, len(places))))
    return tokens, drawn.T


# The trainer.


def reward(tokens: jax.Array) -> jax.Array:
    """What is asked for: to say the first token of the question again and again."""
    return jnp.mean(tokens[:, PROMPT:] == tokens[:, :1], axis=1)


def advantage(rewards: jax.Array) -> jax.Array:
    """How much better an answer is than the others of its group."""
    groups = rewards.reshape(-1, GROUP)
    centred = groups - groups.mean(axis=1, keepdims=True)
    return (centred / (groups.std(axis=1, keepdims=True) + 1e-4)).reshape(-1)


def loss_fn(params: Params, tokens: jax.Array, drawn: jax.Array) -> jax.Array:
    """The clipped objective; `drawn` is of the policy that answered, which may be an older one."""
    scores = jax.nn.log_softmax(logits(params, tokens[:, :-1], MODEL)[:, PROMPT - 1 :])
    now = jnp.take_along_axis(scores, tokens[:, PROMPT:, None], axis=-1)[..., 0]
    ratio, better = jnp.exp(now - drawn), advantage(reward(tokens))[:, None]
    return -jnp.mean(jnp.minimum(ratio * better, jnp.clip(ratio, 0.8, 1.2) * better))


def init_state(key: jax.Array) -> State:
    params = init_params(key, MODEL)
    return {"params": params, "memory": OPTIMIZER.init(params)}


def train_step(state: State, tokens: jax.Array, drawn: jax.Array) -> tuple[State, jax.Array, jax.Array]:
    """One step of Adam; returns the state, the loss and the mean reward."""
    loss, gradients = jax.value_and_grad(loss_fn)(state["params"], tokens, drawn)
    updates, memory = OPTIMIZER.update(gradients, state["memory"])
    params = optax.apply_updates(state["params"], updates)
    return {"params": params, "memory": memory}, loss, jnp.mean(reward(tokens))


def prompts(number: int) -> numpy.ndarray:
    """Random questions, each as often as it is to be answered."""
    random = numpy.random.default_rng(number)
    return numpy.repeat(random.integers(0, MODEL.vocabulary, (QUESTIONS, PROMPT)), GROUP, axis=0).astype(numpy.int32)


STATE = jax.eval_shape(lambda: init_state(jax.random.key(0)))
PROMPTS = jax.ShapeDtypeStruct((QUESTIONS * GROUP, PROMPT), jnp.int32)
KEY = jax.eval_shape(lambda: jax.random.key(0))
ANSWERS = jax.eval_shape(sample, STATE["params"], PROMPTS, KEY)

sampling = atoll.Job(sample, STATE["params"], PROMPTS, KEY, batch_argnums=1)
job = atoll.Job(train_step, STATE, *ANSWERS, batch_argnums=(1, 2), donate_argnums=0)

TOPOLOGY = "3 x cpu[1]"

# The sampler answers in as many parts as the trainer takes, so these go from island to island as they are.
PLAN = atoll.Plan(stages="embed, layer_0 | layer_1, head", microbatches=2, schedule="1f1b")
ANSWERING = atoll.Plan(microbatches=2)


def main(steps: int = 60) -> None:
    with atoll.Cluster(TOPOLOGY) as cluster:
        train = atoll.compile(job, topology=cluster, islands=("island0", "island1"), plan=PLAN)
        answer = atoll.compile(sampling, topology=cluster, islands=("island2",), plan=ANSWERING)
        state = init_state(jax.random.key(0))
        answers = answer(state["params"], prompts(0), jax.random.key(0))
        for number in range(1, steps + 1):
            # The next answers are drawn while the trainer learns from these; it donates the parameters only after that.
            following = answer(state["params"], prompts(number), jax.random.key(number))
            state, _, mean = train(state, *answers)
            answers = following
            if number % 20 == 0:
                print(f"step {number:3}  mean reward {float(mean):.2f}")

        print("parameters have", sum(4 * leaf.size for leaf in jax.tree.leaves(STATE["params"])), "bytes")
        for link, count in sorted(answer.stats().bytes_per_link.items()):
            print("to the sampler  ", *link, count, "bytes")
        for link, count in sorted(train.stats().bytes_per_link.items()):
            print("to learn from   ", *link, count, "bytes")
        print(train.report())


if __name__ == "__main__":
    main()
