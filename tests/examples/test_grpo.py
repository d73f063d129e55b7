"""A sampler and a trainer on the same islands give what `jax.jit` gives, and send what they have to."""

import jax
import numpy
import zoo
from atoll.examples.grpo import train as grpo
from microbatched import compiled_by_xla, evaluated  # noqa: F401 (fixtures)
from references import reference

import atoll

ROUNDS = 3


def rounds(answer, train, state):
    """What each round gives: the sampler is one step ahead of the trainer, as in the example."""
    found, answers = [], answer(state["params"], grpo.prompts(0), jax.random.key(0))
    for number in range(1, ROUNDS + 1):
        following = answer(state["params"], grpo.prompts(number), jax.random.key(number))
        state, loss, mean = train(state, *answers)
        found.append(list(zoo.leaves((state, loss, mean, answers))))
        answers = following
    return found


def test_rounds_are_those_of_jit_and_nothing_else_crosses():
    begin = reference(lambda: grpo.init_state(jax.random.key(0)))
    with atoll.Cluster(grpo.TOPOLOGY) as cluster:
        train = atoll.compile(grpo.job, topology=cluster, islands=("island0", "island1"), plan=grpo.PLAN)
        answer = atoll.compile(grpo.sampling, topology=cluster, islands=("island2",), plan=grpo.ANSWERING)
        state = train.put(
            jax.tree.map(jax.numpy.copy, begin), *answer(begin["params"], grpo.prompts(0), jax.random.key(0))
        )[0]
        found = rounds(answer, train, state)
        weights, learnt = answer.stats().bytes_per_link, train.stats().bytes_per_link
    expected = rounds(
        lambda *args: reference(grpo.sample, *args), lambda *args: reference(grpo.train_step, *args), begin
    )
    for ours, theirs in zip(found, expected, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            numpy.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)  # a loss of advantages, which sum to zero

    # Each parameter goes once from the island where it lives, and so do the answers to where they are needed.
    assert set(weights) == {("island0", "island2"), ("island1", "island2")}
    assert sum(weights.values()) == sum(leaf.nbytes for leaf in jax.tree.leaves(begin["params"]))
    answers = {link: count for link, count in learnt.items() if link[0] == "island2"}
    assert sum(answers.values()) == sum(4 * leaf.size for leaf in jax.tree.leaves(grpo.ANSWERS))
