"""How long a train step of `benchmarks/steps/models.py` takes by SpectraX, for `benchmarks/step.py`.

    pip install spectrax-lib==0.1.4      # in an environment of its own: it is under the AGPL
    python benchmarks/step.py --rival spectrax=ENVIRONMENT/bin/python

The model gets a mark between stages. SpectraX makes the gradients, in the order of 1F1B; the update by Adam is a jitted
function for each stage, where its gradients are.
"""

import itertools
import sys
from collections.abc import Callable
from importlib.metadata import version

import jax
import spectrax
from spectrax.runtime.mpmd import sxjit, sxstage_iter, sxvalue_and_grad
from spectrax.runtime.schedules import Std1F1B
from taking_turns import models, print_median

NAME, STAGES, MICROBATCHES, ROUNDS = sys.argv[1], *map(int, sys.argv[2:5])


def train_step(model: models.Model) -> Callable[..., object]:
    """Its state is a part for each stage."""
    bounds = model.bounds(STAGES)
    mesh = spectrax.create_mesh(axis_dims=(STAGES, 1, -1, 1, 1, 1), mpmd_axis="pp")

    @sxjit(mesh=mesh, schedule=Std1F1B(microbatches=MICROBATCHES), batch_argnums=(1,))
    def loss(parameters: models.Tree, examples: jax.Array) -> jax.Array:
        x = examples
        for number, (layer, its) in enumerate(zip(model.layers, parameters, strict=True)):
            if number in bounds[1:-1]:
                x = sxstage_iter(x)
            x = layer(its, x)
        return model.loss(x, examples)

    gradient = sxvalue_and_grad(loss)
    update = jax.jit(models.adam, donate_argnums=0)

    def step(state: list[models.Tree], examples: jax.Array) -> tuple[list[models.Tree], jax.Array]:
        parameters = tuple(layer for part in state for layer in part["params"])
        found, (gradients,) = gradient(parameters, examples)
        parts = [gradients[first:last] for first, last in itertools.pairwise(bounds)]
        return [update(own, part) for own, part in zip(state, parts, strict=True)], found

    return step


def main() -> None:
    model = getattr(models, NAME)()
    state, examples = models.filled((model.state, model.examples))
    parts = [
        jax.device_put(
            {name: state[name][first:last] for name in ("params", "mean", "square")} | {"count": state["count"]}, device
        )
        for (first, last), device in zip(itertools.pairwise(model.bounds(STAGES)), jax.devices(), strict=True)
    ]
    print_median(
        f"SpectraX {version('spectrax-lib')}, jax {jax.__version__}", train_step(model), parts, examples, ROUNDS
    )


if __name__ == "__main__":
    main()
