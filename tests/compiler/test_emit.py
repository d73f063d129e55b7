"""Programs: who runs, sends, receives and frees what, and when."""

import jax
import jax.numpy as jnp
import pytest
from atoll.compiler.emit.emit import emit, signature_of_module
from atoll.compiler.export.frontend import export, signature_of, trace
from atoll.compiler.export.job import Job
from atoll.compiler.mlir.bindings import ir, new_context
from atoll.compiler.module.marks import PLAN, TOPOLOGY
from atoll.compiler.pipeline.pass_manager import run_passes
from atoll.compiler.pipeline.pipeline import PHASES
from atoll.compiler.pipeline.registry import steps_of_phase
from atoll.compiler.plan.plan import Plan
from atoll.runtime.check import check
from atoll.runtime.program import Free, Receive, Run, Send


def scheduled(job, stages, topology="2 x cpu[1]"):
    module = export(job)
    with module.context:
        module.operation.attributes[TOPOLOGY] = ir.StringAttr.get(topology)
        module.operation.attributes[PLAN] = ir.StringAttr.get(str(Plan(stages=stages)))
    for phase in PHASES:
        run_passes(module, steps_of_phase(phase))
    return module


def program_of(job, stages, topology="2 x cpu[1]"):
    program = emit(scheduled(job, stages, topology), signature_of(job, trace(job)))
    check(program)
    return program


def step(state, x):
    def loss(w):
        with jax.named_scope("a"):
            y = jnp.sin(x @ w["a"])
        with jax.named_scope("b"):
            return jnp.sum(y @ w["b"])

    value, gradients = jax.value_and_grad(loss)(state)
    return jax.tree.map(lambda p, g: p - g, state, gradients), value


STATE = {"a": jnp.zeros((4, 4)), "b": jnp.zeros((4, 4))}
X = jnp.zeros((2, 4))


def kinds(island):
    return [type(one) for one in island.instructions if not isinstance(one, Free)]


def test_streams_of_a_train_step():
    program = program_of(Job(step, STATE, X), "a | b")
    left, right = program.islands
    assert kinds(left) == [Run, Send, Receive, Run, Run]
    assert kinds(right) == [Receive, Run, Run, Send, Run]
    assert [one.task for one in left.instructions if isinstance(one, Run)] == ["F0", "B0", "U0"]
    assert [one.path for one in program.inputs] == ["state['a']", "state['b']", "x"]
    assert [one.every_place[0][0] for one in program.outputs] == ["island0", "island1", "island1"]
    assert len(program.codes) == 5  # both updates are one


@pytest.mark.parametrize("donate", [(), (0,)])
def test_every_buffer_ends_once_but_for_results_and_what_is_the_callers(donate):
    program = program_of(Job(step, STATE, X, donate_argnums=donate), "a | b")
    kept = {place for one in program.outputs for place in one.every_place}
    lent = {place for one in program.inputs if not one.donated for place in one.every_place}
    for island in program.islands:
        ended = []
        for one in island.instructions:
            ended += one.buffers if isinstance(one, Free) else one.donated if isinstance(one, Run) else ()
        assert len(set(ended)) == len(ended)
        left = set(range(len(island.buffers))) - set(ended)
        assert {(island.name, buffer) for buffer in left} - lent <= kept


def test_a_donated_parameter_is_updated_in_place():
    program = program_of(Job(step, STATE, X, donate_argnums=0), "a | b")
    for island, path in zip(program.islands, ("state['a']", "state['b']"), strict=True):
        update = next(one for one in island.instructions if isinstance(one, Run) and one.task.startswith("U"))
        place = next(one.every_place[0] for one in program.inputs if one.path == path)
        assert place in {(island.name, buffer) for buffer in update.donated}


def test_arguments_that_nothing_uses_and_results_that_are_arguments():
    program = program_of(Job(lambda x, y, z: (z, jnp.sin(x), z), X, X, jnp.int32(1)), 2)
    assert [len(one.places) for one in program.inputs] == [1, 0, 1]
    assert program.outputs[0].places == program.outputs[2].places == program.inputs[2].places


def test_nothing_to_run():
    program = program_of(Job(lambda x: x, X), 2)
    assert [list(island.instructions) for island in program.islands] == [[], []]


TWICE = """
!here = !mpmd.mesh_tensor<"island0", tensor<4xf32>>
module attributes {atoll.topology = "1 x cpu[1]"} {
  func.func @main(%x: !here {atoll.path = "x", atoll.donated}) -> (!here {atoll.path = "result"}) attributes {
      topology = #mpmd.topology<<"island0" : <["devices"=1]>>>} {
    %0 = mpmd.fragment_call<mesh="island0", origin=["F0"]> @F0(%x, %x) : (!here, !here) -> !here
    return %0 : !here
  }
  func.func private @F0(%a: tensor<4xf32>, %b: tensor<4xf32>) -> tensor<4xf32> attributes {
      mesh_shape = #sdy.mesh<["devices"=1]>} {
    %0 = stablehlo.add %a, %b : tensor<4xf32>
    return %0 : tensor<4xf32>
  }
}
"""


def test_what_a_task_takes_twice_is_not_donated_to_it():
    module = ir.Module.parse(TWICE, new_context())
    program = emit(module, signature_of_module(module))
    check(program)
    assert program.islands[0].instructions == (Run("F0", 0, (0, 0), (1,)), Free((0,)))


def test_the_module_alone_tells_its_signature():
    module = scheduled(Job(step, STATE, X, donate_argnums=0), "a | b")
    signature = signature_of_module(module)
    assert [(one.path, one.shape, one.dtype, one.donated) for one in signature.inputs] == [
        ("state['a']", (4, 4), "float32", True),
        ("state['b']", (4, 4), "float32", True),
        ("x", (2, 4), "float32", False),
    ]
    check(emit(module, signature))


def test_code_brings_the_meshes_that_it_speaks_of():
    """jax's random bits mention `@empty_mesh`, which is no part of any function."""
    job = Job(lambda key: jax.random.bernoulli(jax.random.wrap_key_data(key), 0.5, (3,)), jnp.zeros(2, jnp.uint32))
    program = program_of(job, 1)
    with_meshes = ir.Module.parse(program.codes[0].module, scheduled(job, 1).context)
    assert with_meshes.operation.verify()
