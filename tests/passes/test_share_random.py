"""Random updates, shared over replicas: what these compute together is what `jax.jit` computes.

The replicas are run in lockstep, in one module: what they exchange is made of what all of them have. `--full` tries
seventy times as many, `--first-seed=N` others.
"""

import chosen
import jax
import jax.numpy as jnp
import numpy
import pytest
from atoll.compiler.export.frontend import export
from atoll.compiler.export.job import Job
from atoll.compiler.mlir.bindings import ir
from atoll.compiler.mlir.functions import argument_attributes, arguments_of, body_of, operations_in, result_attributes
from atoll.compiler.module.interface import share_of
from atoll.compiler.module.main_function import entry_function
from atoll.compiler.module.marks import EXCHANGE, PLAN, SHARE, TOPOLOGY
from atoll.compiler.module.tasks import GATHER, OWN_SHARE
from atoll.compiler.pipeline.pass_manager import run_passes
from atoll.compiler.pipeline.pipeline import phase_named
from atoll.compiler.pipeline.registry import steps_of_phase, steps_of_text
from atoll.compiler.plan.plan import Plan
from atoll.runtime.fragment import Fragment
from evaluated import Module
from jax import lax
from random_updates import random_update

pytestmark = pytest.mark.timeout(6 * 3600)  # for `--full`

COUNT = 15


class Lockstep:
    """A function in which all replicas run a module, operation by operation."""

    def __init__(self, module, replicas):
        self.module, self.replicas = module, replicas
        self.main = entry_function(module)

    def text(self):
        """A module whose `@main` takes wholes, and returns what each replica returns."""
        arguments, marks = arguments_of(self.main), argument_attributes(self.main)
        shares = [share_of(one) for one in marks]
        wholes = [whole(one.type, share, self.replicas) for one, share in zip(arguments, shares, strict=True)]
        made = ir.Module.create()
        with ir.InsertionPoint(made.body):
            function = ir.Operation.create(
                "func.func",
                attributes={
                    "sym_name": ir.StringAttr.get("main"),
                    "function_type": ir.TypeAttr.get(ir.FunctionType.get(wholes, [])),
                },
                regions=1,
            )
        block = function.regions[0].blocks.append(*wholes)
        with ir.InsertionPoint(block):
            values = [
                {
                    argument: value if share is None else self.cut(value, share, replica)
                    for argument, value, share in zip(arguments, block.arguments, shares, strict=True)
                }
                for replica in range(self.replicas)
            ]
            *operations, returning = body_of(self.main).operations
            for operation in operations:
                self.run(operation.operation, values)
            results = [one[value] for one in values for value in returning.operation.operands]
            ir.Operation.create("func.return", [], results)
        types = [one.type for one in results]
        function.attributes["function_type"] = ir.TypeAttr.get(ir.FunctionType.get(wholes, types))
        return made, types

    def run(self, operation, values):
        if EXCHANGE not in operation.attributes:
            for known in values:
                copy = operation.clone(ip=ir.InsertionPoint.current)
                for inner in operations_in(copy, ir.OpView):
                    for number, operand in enumerate(list(inner.operation.operands)):
                        if operand in known:
                            inner.operation.operands[number] = known[operand]
                known.update(zip(operation.results, copy.results, strict=True))
            return
        kind = ir.StringAttr(operation.attributes[EXCHANGE]).value
        share = ir.IntegerAttr(operation.attributes[SHARE]).value if SHARE in operation.attributes else None
        given = [known[operation.operands[0]] for known in values]
        for replica, known in enumerate(values):
            if kind == OWN_SHARE:
                known[operation.results[0]] = self.cut(given[replica], share, replica)
            elif kind == GATHER:
                attributes = {"dimension": ir.IntegerAttr.get(ir.IntegerType.get_signless(64), share)}
                type_ = whole(given[0].type, share, self.replicas)
                made = ir.Operation.create("stablehlo.concatenate", [type_], given, attributes)
                known[operation.results[0]] = made.results[0]
            else:
                total = given[0]
                name = {"add": "add", "max": "maximum", "min": "minimum", "and": "and", "or": "or"}[kind]
                for other in given[1:]:
                    total = ir.Operation.create(f"stablehlo.{name}", [total.type], [total, other]).results[0]
                known[operation.results[0]] = total

    def cut(self, value, dimension, replica):
        type_ = ir.RankedTensorType(value.type)
        starts, limits, size = [0] * type_.rank, list(type_.shape), type_.shape[dimension] // self.replicas
        starts[dimension], limits[dimension] = size * replica, size * (replica + 1)
        attributes = {
            "start_indices": ir.DenseI64ArrayAttr.get(starts),
            "limit_indices": ir.DenseI64ArrayAttr.get(limits),
            "strides": ir.DenseI64ArrayAttr.get([1] * type_.rank),
        }
        shape = [stop - start for start, stop in zip(starts, limits, strict=True)]
        made = ir.RankedTensorType.get(shape, type_.element_type)
        return ir.Operation.create("stablehlo.slice", [made], [value], attributes).results[0]


def whole(type_, share, replicas):
    ranked = ir.RankedTensorType(type_)
    shape = list(ranked.shape)
    if share is not None:
        shape[share] *= replicas
    return ir.RankedTensorType.get(shape, ranked.element_type)


def shared(job, replicas):
    """The module of a job whose plan shares its update."""
    module = export(job)
    with module.context:
        module.operation.attributes[TOPOLOGY] = ir.StringAttr.get(f"{replicas} x cpu[1]")
        module.operation.attributes[PLAN] = ir.StringAttr.get(str(Plan(replicas=replicas, update="sharded")))
    run_passes(module, [*steps_of_phase(phase_named("stablehlo")), *steps_of_text("take-out-sums, share-update")])
    return module


def check(seed):
    """Returns how many arrays of the state are shared."""
    made = random_update(seed)
    names = {"jnp": jnp, "lax": lax}
    exec(compile(made.text, f"update_{seed}.py", "exec"), names)
    text = f"# seed {seed}\n{made.text}"
    job = Job(names["update"], made.state, *made.given)
    expected = jax.tree.leaves(jax.jit(names["update"], keep_unused=True)(made.state, *made.given))
    replicas = 2 if seed % 3 else 3 if seed % 2 else 4
    try:
        module = shared(job, replicas)
    except Exception as error:
        raise AssertionError(text) from error
    main = entry_function(module)
    marks = argument_attributes(main)
    shares = [share_of(one) for one in result_attributes(main)]
    paths = [ir.StringAttr(one["atoll.path"]).value for one in marks]
    given = {f"state['{name}']": value for name, value in made.state.items()}
    given.update(zip(("g", "h", "k", "s"), made.given, strict=True))
    with module.context, ir.Location.unknown():
        together, types = Lockstep(module, replicas).text()
        assert together.operation.verify(), text
        shapes = [jax.ShapeDtypeStruct(ir.RankedTensorType(one).shape, "float64") for one in types]
        fragment = Fragment.of(together, shapes)
    found = Module(fragment.bytecode)(*(numpy.asarray(given[path]) for path in paths))
    count = len(shares)
    for number, (share, theirs) in enumerate(zip(shares, expected, strict=True)):
        copies = found[number::count]
        if share is not None:
            copies = [numpy.concatenate(copies, share)]
        for ours in copies:
            assert numpy.array_equal(ours, theirs), f"result {number} of {replicas} replicas is wrong\n{text}\n{module}"
    return sum(share_of(one) is not None for one in marks)


def test_replicas_together_compute_what_jit_computes(request, capsys):
    seeds = chosen.seeds(request.config, COUNT, COUNT * 70)
    with jax.enable_x64(True):
        found = [check(seed) for seed in seeds]
    with capsys.disabled():
        print(f" [{sum(found)} arrays shared in {len(seeds)} random updates]", end="", flush=True)
    assert sum(found) > len(seeds) / 2
