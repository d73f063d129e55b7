"""How long a train step of `benchmarks/steps/models.py` takes by JaxPP, for `benchmarks/step.py`.

    pip install 'jax==0.9.2'             # in an environment of its own: JaxPP allows no newer one
    git clone https://github.com/NVIDIA/jaxpp
    PYTHONPATH=jaxpp/src python benchmarks/step.py --rival jaxpp=ENVIRONMENT/bin/python

The model gets a mark after each stage's last layer. The rest is the step as JaxPP has it: its loop over microbatches,
which adds up the gradients in the order of 1F1B, and the update by Adam after it.
"""

import sys
from collections.abc import Callable
from functools import partial

import jax
import jaxpp
import numpy
from jaxpp import api
from taking_turns import models, print_median

NAME, STAGES, MICROBATCHES, ROUNDS = sys.argv[1], *map(int, sys.argv[2:5])


def train_step(model: models.Model, mesh: api.MpmdMesh) -> Callable[..., object]:
    begins = model.bounds(STAGES)[1:-1]

    def loss(parameters: models.Tree, examples: jax.Array) -> tuple[jax.Array, None]:
        x = examples
        for number, (layer, its) in enumerate(zip(model.layers, parameters, strict=True)):
            if number in begins:
                x = api.mark_stage_end(x)
            x = layer(its, x)
        return api.mark_stage_end(model.loss(x, examples) / MICROBATCHES), None

    @partial(api.mpmd_jit_with_loop, mpmd_mesh=mesh, donate_argnums=0)
    def step(state: models.Tree, batch: jax.Array) -> tuple[models.Tree, jax.Array]:
        gradient = partial(jax.value_and_grad(loss, has_aux=True), state["params"])
        (losses, _), gradients = api.treduce(gradient, batch, schedule=api.Std1F1B(mesh.mpmd_dim))
        return models.adam(state, gradients), losses

    return step


def arrays_in(tree: models.Tree) -> list[jax.Array]:
    """What its arrays are made of, which jax can wait for."""
    return [one for whole in jax.tree.leaves(tree) for one in whole._partially_addressable_arrays.values()]


def main() -> None:
    model = getattr(models, NAME)()
    state, examples = jax.device_put(models.filled((model.state, model.examples)))
    mesh = api.MpmdMesh(jax.sharding.Mesh(numpy.array(jax.devices()).reshape(-1, 1), ("stages", "data")), "stages")
    parts = examples.reshape(MICROBATCHES, -1, *examples.shape[1:])
    system = f"JaxPP {jaxpp.__version__}, jax {jax.__version__}"
    print_median(system, train_step(model, mesh), state, parts, ROUNDS, arrays_in)


if __name__ == "__main__":
    main()
