"""Which arguments a program takes whether they are weakly typed or not.

A Python number, and what jax computes from such alone, is weakly typed: it gives way to other dtypes. A state may begin
so and come back otherwise, or the reverse, and then `jax.jit` compiles another program in the second step. Here the
programs of all steps are looked at beforehand: where they are the same, one does for all; where they are not, the error
comes before the first step, and names the leaf.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

from atoll.compiler.errors import CompileError
from atoll.compiler.export.signature import Parameter, Signature
from atoll.compiler.mlir.bindings import ir
from atoll.compiler.mlir.ir_text import copy_module, print_module
from atoll.compiler.module.feedback import StateLeaf, replacements
from atoll.compiler.pipeline.pass_manager import run_passes
from atoll.compiler.pipeline.registry import steps_of_text
from atoll.compiler.plan.scope_patterns import path_components

# A state settles after two steps or three; one that takes more is not followed further.
_MOST_STEPS = 8

# Which arguments are weakly typed, in their order.
Weak = tuple[bool, ...]


@dataclass(frozen=True)
class Variant:
    """The program for arguments of certain kinds. text: what is equal for programs that compute the same."""

    signature: Signature
    text: Callable[[], str]

    @property
    def weak(self) -> Weak:
        return tuple(one.weak_type for one in self.signature.inputs)

    def computes_like(self, other: "Variant") -> bool:
        """Whether both give the same numbers, in arrays of the same dtypes."""
        return self is other or self.text() == other.text()

    def gives_kinds_like(self, other: "Variant") -> bool:
        """Whether results are weakly typed in both or in neither."""
        return _results(self.signature) == _results(other.signature)


def settle(first: Variant, made: Callable[[Weak], Variant | None], where: str) -> Signature:
    """The signature, with the arguments marked for which either kind leads to the same program.

    made: the variant for arguments of other kinds; None if the function cannot be traced with these.
    where: what an error names: the user's line, if a state needs different programs in different steps.
    """
    variants = _Variants(first, made)
    steps = variants.of_steps()
    changing = {number for number, kinds in enumerate(zip(*steps, strict=True)) if len(set(kinds)) > 1}
    settled = variants.at(steps[-1])
    if settled is None or not variants.agree(steps, changing, Variant.computes_like):
        raise _refusal(first.signature, steps, where)
    free = changing | {number for number, weak in enumerate(first.weak) if weak}
    agree = variants.agree([first.weak], free, Variant.computes_like)
    if not (agree and variants.agree([first.weak], free, Variant.gives_kinds_like)):
        free = changing
    inputs = (replace(one, either=number in free) for number, one in enumerate(first.signature.inputs))
    return Signature(tuple(inputs), settled.signature.outputs)


class _Variants:
    """The variants of a program, each made once."""

    def __init__(self, first: Variant, made: Callable[[Weak], Variant | None]) -> None:
        self._first = first
        self._made = made
        self._known: dict[Weak, Variant | None] = {first.weak: first}

    def at(self, weak: Weak) -> Variant | None:
        if weak not in self._known:
            self._known[weak] = self._made(weak)
        return self._known[weak]

    def of_steps(self) -> list[Weak]:
        """The kinds of the arguments of the first step and of those after it, each once."""
        steps = [self._first.weak]
        while len(steps) < _MOST_STEPS and (variant := self.at(steps[-1])) is not None:
            weak = _next_step(variant.signature)
            if weak in steps:
                break
            steps.append(weak)
        return steps

    def agree(
        self, steps: Sequence[Weak], numbers: Collection[int], is_like: Callable[[Variant, Variant], bool]
    ) -> bool:
        """Whether the program is the same in all steps, and for either kind of each of these arguments.

        For the latter two more are made: with none of the arguments weakly typed, and with all. What lies between
        follows: promotion is monotone, so that each value has the dtype that it has at both ends.
        """
        first = steps[0]
        ends = (
            tuple(is_weak if number in numbers else one for number, one in enumerate(first))
            for is_weak in (False, True)
        )
        found = [self.at(weak) for weak in dict.fromkeys((*steps, *ends))]
        return all(one is not None and is_like(one, self._first) for one in found)


def program_text(module: ir.Module) -> str:
    """What is equal for modules that compute the same, as far as tracing with other kinds changes a module.

    That is how functions are divided and called, what is computed twice, and conversions that change nothing.
    """
    module = copy_module(module)
    run_passes(module, steps_of_text("inline-calls, drop-empty-shardings, trivial-dce, symbol-dce"))
    module.operation.walk(_drop_idle_conversion)
    run_passes(module, steps_of_text("cse"))
    return print_module(module)


def _drop_idle_conversion(operation: ir.Operation) -> ir.WalkResult:
    if operation.name == "stablehlo.convert" and operation.operands[0].type == operation.results[0].type:
        operation.results[0].replace_all_uses_with(operation.operands[0])
    return ir.WalkResult.ADVANCE


def _states(signature: Signature) -> dict[int, int]:
    """For each argument that is surely a state, which the next step gets, the number of the result that it will be.

    What is donated, and pytrees that a result replaces as a whole. Not a single array: a `loss` may look like a `rate`.
    """
    leaves = [StateLeaf(one.path, (one.shape, one.dtype)) for one in (*signature.inputs, *signature.outputs)]
    count = len(signature.inputs)
    replaced = replacements(dict(enumerate(leaves[:count])), leaves[count:])
    arguments: dict[str, list[int]] = {}
    for number, one in enumerate(signature.inputs):
        arguments.setdefault(path_components(one.path)[0], []).append(number)
    whole = [numbers for numbers in arguments.values() if len(numbers) > 1 and replaced.keys() >= set(numbers)]
    sure = {number for number, one in enumerate(signature.inputs) if one.donated}.union(*whole)
    return {number: result for number, result in replaced.items() if number in sure}


def _next_step(signature: Signature) -> Weak:
    """Which arguments are weakly typed in the next step."""
    states = _states(signature)
    return tuple(
        signature.outputs[states[number]].weak_type if number in states else one.weak_type
        for number, one in enumerate(signature.inputs)
    )


def _results(signature: Signature) -> list[Parameter]:
    """The results; states without their kind, which the next step does not mind."""
    replacing = set(_states(signature).values())
    outputs = enumerate(signature.outputs)
    return [replace(one, weak_type=False) if number in replacing else one for number, one in outputs]


def _refusal(signature: Signature, steps: Sequence[Weak], where: str) -> CompileError:
    """The error for a state that needs another program in a later step; it names a leaf that changes first."""
    second = steps[1]
    number = next(number for number, is_weak in enumerate(steps[0]) if is_weak != second[number])
    one = signature.inputs[number]
    own, weak = "has a dtype of its own", "is weakly typed, as a Python number is"
    before, after = (weak, own) if one.weak_type else (own, weak)
    what = f"{one.path} {before}, and in the second step {after}, for which jax.jit would compile another program"
    array = f'jax.numpy.asarray(value, "{one.dtype}")'
    return CompileError(what, where, f"begin with {array}" if one.weak_type else f"return {array} for it")
