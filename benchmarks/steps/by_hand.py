"""The same steps as a person cuts them into stages: functions of one stage each, jitted for the stage's device."""

import itertools
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
from steps.models import Model, Tree, adam


class Stage:
    """Some layers that follow each other, on one device."""

    def __init__(self, model: Model, first: int, last: int, device: jax.Device, microbatches: int) -> None:
        self._layers, self._loss = model.layers[first:last], model.loss
        self.is_first, self.is_last = first == 0, last == len(model.layers)
        self._microbatches = microbatches
        self.device = device
        self.parameters = model.parameters[first:last]
        self.zeros = jax.jit(lambda parameters: jax.tree.map(jnp.zeros_like, parameters))
        self.forward = jax.jit(self._forward)
        self.backward = jax.jit(self._backward, donate_argnums=2)
        self.update = jax.jit(adam, donate_argnums=0)

    def _run(self, parameters: Sequence[Tree], x: jax.Array, examples: jax.Array) -> jax.Array:
        for layer, its in zip(self._layers, parameters, strict=True):
            x = layer(its, x)
        return self._loss(x, examples) / self._microbatches if self.is_last else x

    def _forward(self, parameters: Sequence[Tree], x: jax.Array, examples: jax.Array) -> tuple[jax.Array, Tree]:
        """What it gives, and what takes a gradient back."""
        if self.is_first:  # the examples have no gradient
            return jax.vjp(lambda parameters: self._run(parameters, x, examples), parameters)
        return jax.vjp(lambda parameters, x: self._run(parameters, x, examples), parameters, x)

    @staticmethod
    def _backward(pull: Tree, gradient: jax.Array, total: Tree) -> tuple[Tree, Tree]:
        its, *rest = pull(gradient)
        return jax.tree.map(jnp.add, total, its), rest


def stages_of(model: Model, devices: Sequence[jax.Device], microbatches: int) -> list[Stage]:
    return [
        Stage(model, first, last, device, microbatches)
        for (first, last), device in zip(itertools.pairwise(model.bounds(len(devices))), devices, strict=True)
    ]


def compile_stages(model: Model, devices: Sequence[jax.Device], microbatches: int) -> None:
    """Everything that a step calls."""
    x = examples = jax.ShapeDtypeStruct(
        (model.examples.shape[0] // microbatches, *model.examples.shape[1:]), model.examples.dtype
    )
    for stage in stages_of(model, devices, microbatches):
        total = _compiled(stage.device, stage.zeros, stage.parameters)
        x, pull = _compiled(stage.device, stage.forward, stage.parameters, x, examples)
        _compiled(stage.device, stage.backward, pull, x, total)
        _compiled(stage.device, stage.update, state_of(stage.parameters, model.state["count"]), total)


def _compiled(device: jax.Device, function: Tree, *arguments: Tree) -> Tree:
    """The shapes of what it gives."""
    there = jax.sharding.SingleDeviceSharding(device)
    placed = jax.tree.map(lambda one: jax.ShapeDtypeStruct(one.shape, one.dtype, sharding=there), arguments)
    function.lower(*placed).compile()
    return jax.eval_shape(function, *arguments)


def state_of(parameters: Tree, count: Tree) -> Tree:
    return dict.fromkeys(("params", "mean", "square"), parameters) | {"count": count}


class ByHand:
    """The step in the order of 1F1B: a loop in Python that calls these functions, and moves what they give."""

    def __init__(self, model: Model, devices: Sequence[jax.Device], microbatches: int) -> None:
        self._stages = stages_of(model, devices, microbatches)
        self._microbatches = microbatches
        self._order = tuple(one_forward_one_backward(len(devices), microbatches))
        self._one = jax.device_put(jnp.ones(()), devices[-1])

    def place(self, state: Tree) -> list[Tree]:
        """A part of the state for each stage."""
        placed, first = [], 0
        for stage in self._stages:
            last = first + len(stage.parameters)
            own = {name: state[name][first:last] for name in ("params", "mean", "square")}
            placed.append(jax.device_put(own | {"count": state["count"]}, stage.device))
            first = last
        return placed

    def step(self, states: Sequence[Tree], examples: jax.Array) -> tuple[list[Tree], list[jax.Array]]:
        """The states, and the loss of each microbatch."""
        last = len(self._stages) - 1
        parts = jnp.split(examples, self._microbatches)
        x = {(0, number): jax.device_put(part, self._stages[0].device) for number, part in enumerate(parts)}
        labels = [jax.device_put(part, self._stages[last].device) for part in parts]
        gradients = {(last, number): self._one for number in range(self._microbatches)}
        totals = [stage.zeros(state["params"]) for stage, state in zip(self._stages, states, strict=True)]
        pulls, losses = {}, []
        for index, number, is_forward in self._order:
            stage, here = self._stages[index], (index, number)
            if is_forward:
                taken = x.pop(here)  # also in place of the examples, which only the last stage reads
                given, pulls[here] = stage.forward(
                    states[index]["params"], taken, labels[number] if stage.is_last else taken
                )
                if stage.is_last:
                    losses.append(given)
                else:
                    x[index + 1, number] = jax.device_put(given, self._stages[index + 1].device)
            else:
                totals[index], rest = stage.backward(pulls.pop(here), gradients.pop(here), totals[index])
                if not stage.is_first:
                    gradients[index - 1, number] = jax.device_put(rest[0], self._stages[index - 1].device)
        updated = [s.update(state, total) for s, state, total in zip(self._stages, states, totals, strict=True)]
        return updated, losses


def one_forward_one_backward(stages: int, microbatches: int) -> Iterator[tuple[int, int, bool]]:
    """Stage, microbatch, and whether it is forward, in an order in which each finds what it takes."""
    waiting = []
    for stage in range(stages):
        ahead = min(stages - stage, microbatches)
        order = [(number, True) for number in range(ahead)]
        for number in range(microbatches):
            order.append((number, False))
            if number + ahead < microbatches:
                order.append((number + ahead, True))
        waiting.append(order)
    done = set[tuple[int, int, bool]]()
    while any(waiting):
        for stage, order in enumerate(waiting):
            number, is_forward = order[0] if order else (0, True)
            neighbour = stage - 1 if is_forward else stage + 1
            if order and (not 0 <= neighbour < stages or (neighbour, number, is_forward) in done):
                done.add((stage, number, is_forward))
                yield stage, *order.pop(0)
