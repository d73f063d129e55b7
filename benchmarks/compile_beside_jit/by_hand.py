"""The same steps as a person cuts them into stages: functions of one stage each, compiled for the stage's device."""

import jax
from models import Model, Tree, adam


def compile_stages(model: Model, devices: list[jax.Device], microbatches: int) -> None:
    """For each stage a forward, a backward and an update function."""
    count = len(model.layers)
    bounds = [count * part // len(devices) for part in range(len(devices) + 1)]
    x = examples = jax.ShapeDtypeStruct(
        (model.examples.shape[0] // microbatches, *model.examples.shape[1:]), model.examples.dtype
    )
    for number, device in enumerate(devices):
        first, last = bounds[number], bounds[number + 1]
        parameters, is_first, is_last = model.parameters[first:last], number == 0, last == count

        def stage(
            its: Tree, x: jax.Array, examples: jax.Array, first: int = first, last: int = last, is_last: bool = is_last
        ) -> jax.Array:
            for layer, its_own in zip(model.layers[first:last], its, strict=True):
                x = layer(its_own, x)
            return model.loss(x, examples) if is_last else x

        def forward(
            its: Tree, x: jax.Array, examples: jax.Array, stage: Tree = stage, is_first: bool = is_first
        ) -> Tree:
            if is_first:
                return jax.vjp(lambda its: stage(its, x, examples), its)
            return jax.vjp(lambda its, x: stage(its, x, examples), its, x)

        def backward(pull: Tree, gradient: jax.Array, total: Tree) -> tuple[Tree, Tree]:
            its, *rest = pull(gradient)
            return jax.tree.map(jax.numpy.add, total, its), rest

        def compile_one(function: Tree, *arguments: Tree, device: jax.Device = device, donate: int) -> Tree:
            on = jax.sharding.SingleDeviceSharding(device)
            placed = jax.tree.map(lambda one: jax.ShapeDtypeStruct(one.shape, one.dtype, sharding=on), arguments)
            jax.jit(function, donate_argnums=donate).lower(*placed).compile()
            return jax.eval_shape(function, *arguments)

        out, pull = compile_one(forward, parameters, x, examples, donate=())
        compile_one(backward, pull, out, parameters, donate=2)
        state = dict.fromkeys(("params", "mean", "square"), parameters) | {"count": model.state["count"]}
        compile_one(adam, state, parameters, donate=0)
        x = out
