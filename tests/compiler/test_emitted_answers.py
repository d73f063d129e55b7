"""Programs of many islands give the answer of `jax.jit`; numpy carries them out here, without threads."""

import itertools

import jax
import jax.numpy as jnp
import numpy
import pytest
from atoll.compiler.emit.emit import emit
from atoll.compiler.export.frontend import export, signature_of, trace
from atoll.compiler.export.job import Job
from atoll.compiler.mlir.bindings import ir
from atoll.compiler.module.marks import PLAN, TOPOLOGY
from atoll.compiler.pipeline.pass_manager import run_passes
from atoll.compiler.pipeline.pipeline import PHASES
from atoll.compiler.pipeline.registry import steps_of_phase
from atoll.compiler.plan.plan import Plan
from atoll.runtime.check import check
from atoll.runtime.program import Count, Free, Receive, Run, Send, box_of
from evaluated import Module

NARROW = "1 kB/s, 0 s"  # what does not go round takes too long
SLOW = "1 kB/s, 1 s"


def program_of(job, plan, link=""):
    """The program of a plan for islands that are all linked alike."""
    islands = range(plan.stages * plan.replicas)
    lines = [f"island island{one} : cpu[1]" for one in islands]
    pairs = itertools.combinations(islands, 2) if link else ()
    lines += [f"link island{one} <-> island{other} : {link}" for one, other in pairs]
    module = export(job)
    with module.context:
        module.operation.attributes[TOPOLOGY] = ir.StringAttr.get("\n".join(lines))
        module.operation.attributes[PLAN] = ir.StringAttr.get(str(plan))
    for phase in PHASES:
        run_passes(module, steps_of_phase(phase))
    program = emit(module, signature_of(job, trace(job)))
    check(program)
    return program


class Islands:
    """What carries out one step of a program, on islands that are dictionaries of arrays."""

    def __init__(self, program):
        self.program = program
        self.codes = [Module(code.module) for code in program.codes]
        self.values = {island.name: {} for island in program.islands}
        self.sent = {}

    def step(self, arguments):
        program, values = self.program, self.values
        for port, argument in zip(program.inputs, arguments, strict=True):
            for start, copies in zip(port.starts or [()] * len(port.places), port.places, strict=True):
                for island, number in copies:
                    values[island][number] = argument[self._box(start, island, number)]
        left = {island.name: list(island.instructions) for island in program.islands}
        while any(left.values()):
            for name, instructions in left.items():
                while instructions and self._carry_out(name, instructions[0]):
                    del instructions[0]
        return [self._result(port) for port in program.outputs]

    def _box(self, start, island, number):
        shape = self.program.buffer((island, number)).shape
        return tuple(slice(*bounds) for bounds in box_of(start, shape)) if start else ...

    def _carry_out(self, name, one):
        """Whether it could be carried out."""
        own = self.values[name]
        match one:
            case Run():
                results = self.codes[one.code](*(own[number] for number in one.inputs))
                for number in one.donated:
                    del own[number]
                own.update(zip(one.outputs, results, strict=True))
            case Send():
                self.sent[name, one.to, one.tag] = own[one.buffer]
            case Receive():
                if (one.source, name, one.tag) not in self.sent:
                    return False
                own[one.buffer] = self.sent.pop((one.source, name, one.tag))
            case Count():
                own[one.buffer] = numpy.int32(one.microbatch)
            case Free():
                for number in one.buffers:
                    del own[number]
        return True

    def _result(self, port):
        """A result from its parts; all copies of a part are the same."""
        whole = numpy.full(port.shape, numpy.nan, port.dtype)
        for start, copies in zip(port.starts or [()] * len(port.places), port.places, strict=True):
            for island, number in copies:
                found = self.values[island][number]
                assert numpy.array_equal(found, self.values[copies[0][0]][copies[0][1]])
                whole[self._box(start, island, number)] = found
        return whole


RANDOM = numpy.random.default_rng(0)
MODEL = {
    "a": RANDOM.normal(size=(6, 8)).astype("float32"),
    "b": RANDOM.normal(size=(8, 4)).astype("float32"),
    "c": RANDOM.normal(size=(4,)).astype("float32"),
}
STATE = {"model": MODEL, "momentum": {name: 0.1 * one for name, one in MODEL.items()}}
X = RANDOM.normal(size=(24, 6)).astype("float32")


def train(state, x):
    def loss(w):
        hidden = jnp.tanh(x @ w["a"])
        outputs = hidden @ w["b"] + w["c"]
        return jnp.mean(outputs**2), outputs

    (value, outputs), gradients = jax.value_and_grad(loss, has_aux=True)(state["model"])
    momentum = jax.tree.map(lambda m, g: 0.9 * m + g, state["momentum"], gradients)
    model = jax.tree.map(lambda p, m: p - 0.1 * m, state["model"], momentum)
    return {"model": model, "momentum": momentum}, value, outputs


@pytest.mark.parametrize(
    ("plan", "link"),
    [
        (Plan(stages=2, replicas=1, microbatches=3, schedule="1f1b"), ""),
        (Plan(stages=1, replicas=2, microbatches=2), ""),
        (Plan(stages=2, replicas=2, microbatches=2, segments=2), ""),
        (Plan(stages=1, replicas=4, microbatches=1), NARROW),
        (Plan(stages=1, replicas=3, microbatches=2), SLOW),
        (Plan(stages=1, replicas=2, microbatches=2, update="sharded"), NARROW),
    ],
    ids=["stages", "two-replicas", "stages-and-replicas", "ring", "slow-links", "sharded-update"],
)
def test_a_train_step(plan, link):
    islands = Islands(program_of(Job(train, STATE, X, donate_argnums=0, batch_argnums=1), plan, link))
    found = islands.step(jax.tree.leaves((STATE, X)))
    expected = jax.tree.leaves(jax.jit(train)(STATE, X))
    for one, other in zip(found, expected, strict=True):
        numpy.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_no_task_takes_the_memory_of_arguments_that_stay_the_callers():
    program = program_of(Job(train, STATE, X, batch_argnums=1), Plan(stages=1, replicas=1, microbatches=2))
    lent = set(itertools.chain.from_iterable(one.every_place for one in program.inputs))
    for island in program.islands:
        tasks = [one for one in island.instructions if isinstance(one, Run)]
        assert not {(island.name, number) for one in tasks for number in one.donated} & lent
