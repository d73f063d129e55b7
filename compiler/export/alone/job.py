"""The function that a plan with `per_microbatch` asks for: with some of its scopes done for each microbatch alone."""

import copy
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
from atoll.compiler.errors import CompileError
from atoll.compiler.export.alone.block import AloneBlock
from atoll.compiler.export.alone.pairs import TracedPair, blocks_of
from atoll.compiler.export.alone.scopes import AloneScopes, NameStack, stack_of
from atoll.compiler.export.alone.values import CUT, AloneForms, AloneValue
from atoll.compiler.export.batch_axes import axes_of
from atoll.compiler.export.job import Job
from atoll.compiler.mlir.attributes import integer
from atoll.compiler.mlir.bindings import ir
from atoll.compiler.mlir.locations import name_stack
from atoll.compiler.module.marks import ALONE, ALONE_CUT
from atoll.compiler.module.noting import attribute_of_note
from atoll.compiler.plan.resolved_plan import ResolvedPlan
from atoll.compiler.tracebacks import failing_line, first_line

_RESHAPE = "stablehlo.reshape"


def as_planned(job: Job, plan: ResolvedPlan) -> Job:
    """The job with the function that the plan asks for, which is its own if nothing is done for each alone."""
    if not plan.per_microbatch:
        return job
    made = copy.copy(job)
    made.fn = Alone(job, plan.per_microbatch, plan.microbatches * plan.replicas)
    return made


class Alone:
    """A job's function, in which scopes see the examples of one of so many microbatches alone.

    It is traced twice, for the whole batch and for the examples of one microbatch. What is in the scopes is then done
    as in the second, for all microbatches beside each other, as `jax.vmap` would; all else as in the first.
    """

    def __init__(self, job: Job, patterns: str, parts: int) -> None:
        functools.update_wrapper(self, job.fn, updated=())
        self.__name__ = job.name
        self._job = job
        self._patterns = patterns
        self._parts = parts
        self._scopes = AloneScopes(patterns)

    def __call__(self, *args: Any) -> Any:  # noqa: ANN401 (pytrees)
        # Traced as often as jax asks, and what was found counts once.
        self._scopes = AloneScopes(self._patterns)
        whole, result = self._traced(self._job.fn, args)
        structure = jax.tree.structure(result)
        if self._parts == 1 or not self._is_even(args):  # not even: `fold-batch` says so
            _see(self._scopes, whole.jaxpr, None)
            self._scopes.check_found()
            return self._job.fn(*args)
        own, _ = self._traced_alone(args)
        leaves = [value for number in self._taken() for value in jax.tree.leaves(args[number])]
        given = [AloneValue(one.shape, one) for one in leaves]
        block = AloneBlock(self._scopes, AloneForms(self._parts))
        results = block.run(TracedPair(whole.jaxpr, own.jaxpr, whole.consts, own.consts), given)
        self._scopes.check_found()
        return jax.tree.unflatten(structure, map(block.whole, results))

    def mark(self, module: ir.Module) -> None:
        """Mark what was lowered of it: for how many microbatches, where it cuts them out, and what is told of it."""
        if self._parts == 1:
            return

        def note(operation: ir.Operation) -> ir.WalkResult:
            if operation.name == _RESHAPE and CUT in name_stack(operation.location).split("/"):
                operation.attributes[ALONE_CUT] = ir.UnitAttr.get()
            return ir.WalkResult.ADVANCE

        with module.context:
            module.operation.walk(note)
            # Told by the pass that meets them first.
            notes = ir.ArrayAttr.get(list(map(attribute_of_note, self._scopes.notes())))
            module.operation.attributes[ALONE] = ir.DictAttr.get({"parts": integer(self._parts), "notes": notes})

    def _taken(self) -> list[int]:
        return [number for number in range(len(self._job.args)) if number not in self._job.static_argnums]

    def _axes(self, args: Sequence[Any]) -> Iterator[tuple[int, list[Any], list[int | None]]]:
        for number in self._taken():
            yield number, jax.tree.leaves(args[number]), axes_of(self._job, number)

    def _is_even(self, args: Sequence[Any]) -> bool:
        return all(
            axis is None or leaf.shape[axis] % self._parts == 0
            for _, leaves, axes in self._axes(args)
            for leaf, axis in zip(leaves, axes, strict=True)
        )

    def _traced(self, fn: Callable[..., Any], args: Sequence[Any]) -> tuple[Any, Any]:
        return jax.make_jaxpr(fn, static_argnums=self._job.static_argnums, return_shape=True)(*args)

    def _traced_alone(self, args: Sequence[Any]) -> tuple[Any, Any]:
        """The function, traced for the examples of one microbatch; CompileError if it takes no other number."""
        given = list(args)
        for number, leaves, axes in self._axes(args):
            smaller = [_part(leaf, axis, self._parts) for leaf, axis in zip(leaves, axes, strict=True)]
            given[number] = jax.tree.unflatten(jax.tree.structure(args[number]), smaller)
        try:
            return self._traced(self._job.fn, given)
        except Exception as error:  # of the user's code, whatever it raises
            what = "the function cannot be traced for the examples of one microbatch, as per_microbatch asks"
            what = f"{what}: {type(error).__name__}: {first_line(error)}"
            remedy = (
                "take the number of examples from the shape of an argument, or leave per_microbatch out of the plan"
            )
            raise CompileError(what, failing_line(error) or self._job.where, remedy) from error


def _part(leaf: Any, axis: int | None, parts: int) -> jax.ShapeDtypeStruct:  # noqa: ANN401 (a tracer)
    shape = list(leaf.shape)
    if axis is not None:
        shape[axis] //= parts
    return jax.ShapeDtypeStruct(shape, leaf.dtype, weak_type=leaf.weak_type)  # type: ignore[no-untyped-call] # jax's


def _see(scopes: AloneScopes, block: Any, stack: NameStack) -> None:  # noqa: ANN401 (a block of jax's)
    """Find the scopes of a block, and in which of them the patterns are."""
    for one in block.eqns:
        scopes.see(one, stack)
        scopes.has(one, stack)
        for inner in blocks_of(one):
            _see(scopes, getattr(inner, "jaxpr", inner), stack_of(stack, one))
