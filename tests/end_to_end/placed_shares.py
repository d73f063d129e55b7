"""Modules in phase `placed`, in which every replica makes a share of the update: what tests of shares run.

The gradient of a parameter is the sum of a batch argument over its examples. It is scattered, a share of the parameter
is taken, momentum is kept in shares, and the new shares are gathered. If clipped, the squares of all shares are summed
up, and gradients are halved if they are more than a bound.
"""

from dataclasses import dataclass

import ml_dtypes  # noqa: F401 (registers bfloat16 with numpy)
import numpy
from atoll.compiler.lowered import compile_module
from atoll.compiler.mlir.ir_text import parse_text
from atoll.compiler.module.shardings import sharding_text
from atoll.compiler.task_name import TaskName
from atoll.compiler.topology.topology import Topology

RATE, MOMENTUM, HALVED = 0.25, 0.5, 0.5  # exact in binary
BOUND = 1000.0
ELEMENTS = {"float32": "f32", "bfloat16": "bf16", "float16": "f16", "complex64": "complex<f32>"}


@dataclass(frozen=True)
class Parameter:
    """share: the dimension along which it is updated in shares. piece: of path `w`, its dimension, start and whole;
    without one it has a path of its own. spec: for each dimension the axes of the island's mesh over which it is."""

    shape: tuple[int, ...]
    share: int = 0
    stage: int = 0
    dtype: str = "float32"
    piece: tuple[int, int, int] | None = None
    spec: tuple[tuple[str, ...], ...] = ()


def topology_of(stages, replicas, island="cpu[1]", link=""):
    names = [f"island{number}" for number in range(stages * replicas)]
    lines = [f"island {name} : {island}" for name in names]
    pairs = [(one, other) for number, one in enumerate(names) for other in names[number + 1 :]] if link else []
    return Topology.parse("\n".join([*lines, *(f"link {one} <-> {other} : {link}" for one, other in pairs)]))


def compiled(parameters, replicas, microbatches=2, *, clipped=False, island="cpu[1]", link=""):
    stages = 1 + max(one.stage for one in parameters)
    topology = topology_of(stages, replicas, island, link)
    return compile_module(parse_text(placed(parameters, topology, replicas, microbatches, clipped)), topology)


def placed(parameters, topology, replicas, microbatches, clipped=False):
    """The module. Its arguments: the parameters, their momenta, and for each a batch with two examples a microbatch."""
    return _Writer(parameters, topology, replicas, microbatches, clipped).module()


class _Writer:
    def __init__(self, parameters, topology, replicas, microbatches, clipped):
        self.parameters = list(enumerate(parameters))
        self.topology = topology
        self.replicas = replicas
        self.microbatches = microbatches
        self.clipped = clipped
        self.stages = 1 + max(one.stage for one in parameters)

    def module(self):
        axes = [", ".join(f'"{axis.name}"={axis.size}' for axis in one.axes) for one in self.topology.islands]
        islands = ", ".join(
            f'<"{one.name}" : <[{text}]>>' for one, text in zip(self.topology.islands, axes, strict=True)
        )
        self.mark = f"attributes {{topology = #mpmd.topology<{islands}>}}"
        text = str(self.topology).replace("\n", "\\0A")
        plan = f"stages={self.stages}, microbatches={self.microbatches}, replicas={self.replicas}, segments=1"
        head = f'atoll.phase = "placed", atoll.plan = "{plan}", atoll.stages = {self.stages} : i32'
        return f"""
module attributes {{{head}, atoll.topology = "{text}"}} {{
  sdy.mesh @mesh = <[{axes[0]}]>
{self.main()}
{self.microbatch()}
}}"""

    # Types.

    def share(self, one):
        shape = list(one.shape)
        shape[one.share] //= self.replicas
        return tuple(shape)

    def tensor(self, one, shape):
        return f"tensor<{''.join(f'{size}x' for size in shape)}{ELEMENTS[one.dtype]}>"

    def mesh(self, one, shape=None, spec=None):
        spec = one.spec if spec is None else spec
        over = f", sharding={sharding_text(spec)}" if spec else ""
        return (
            f'!mpmd.mesh_tensor<"island{one.stage}", {self.tensor(one, one.shape if shape is None else shape)}{over}>'
        )

    def scalar(self, stage=0):
        return f'!mpmd.mesh_tensor<"island{stage}", tensor<f32>>'

    def batch(self, one):
        return self.mesh(one, (2, *one.shape), ((), *one.spec) if one.spec else ())

    def on(self, stage):
        return [pair for pair in self.parameters if pair[1].stage == stage]

    def name(self, number, one):
        return "w" if one.piece else f"p{number}"

    # Functions.

    def main(self):
        given, returned = [], []
        for number, one in self.parameters:
            path = self.name(number, one)
            piece = f", atoll.piece = array<i64: {', '.join(map(str, one.piece))}>" if one.piece else ""
            given.append(f'%p{number}: {self.mesh(one)} {{atoll.donated, atoll.path = "{path}"{piece}}}')
            share = f"{piece}, atoll.share = {one.share} : i32"
            momentum = self.mesh(one, self.share(one))
            given.append(f'%m{number}: {momentum} {{atoll.donated, atoll.path = "m.{path}"{share}}}')
            given.append(
                f"%g{number}: {self.batch(one)} "
                f'{{atoll.batch, atoll.parts = {self.replicas * self.microbatches} : i32, atoll.path = "g{number}"}}'
            )
            returned.append((f"%n{number}", self.mesh(one), f'"new.{path}"{piece}'))
            returned.append((f"%k{number}", momentum, f'"new.m.{path}"{share}'))
        if self.clipped:
            returned.append(("%norm0", self.scalar(), '"norm"'))
        types = ", ".join(f"{kind} {{atoll.path = {path}}}" for _, kind, path in returned)
        lines = [*self.zeros(), *self.loop()]
        for number, one in self.parameters:
            lines.append(self.exchange(f"%t{number}", f"%s#{number}", "add", one))
        for number, one in self.parameters:
            lines.append(self.exchange(f"%q{number}", f"%p{number}", "share", one))
        lines += self.norm() if self.clipped else []
        for stage in range(self.stages):
            lines += self.update(stage)
        for number, one in self.parameters:
            lines.append(self.exchange(f"%n{number}", f"%r{number}", "gather", one))
        lines.append(f"return {', '.join(name for name, *_ in returned)} : {', '.join(one for _, one, _ in returned)}")
        body = "\n".join(f"    {line}" for line in lines)
        return f"  func.func @main({', '.join(given)}) -> ({types}) {self.mark} {{\n{body}\n  }}"

    def exchange(self, result, operand, kind, one):
        types = [self.mesh(one), self.mesh(one, self.share(one))]
        source, target = types[::-1] if kind == "gather" else types
        marks = f'{{atoll.exchange = "{kind}", atoll.share = {one.share} : i32}}'
        return f"{result} = builtin.unrealized_conversion_cast {operand} : {source} to {target} {marks}"

    def fragment(self, results, task, stage, operands, body, made, sweep=0):
        """operands: names and types outside; body: lines that call them %a0, %a1; made: names and types inside, and
        the types outside."""
        arguments = ", ".join(f"%a{number}: {inner}" for number, (_, _, inner) in enumerate(operands))
        lines = [
            f'{results} = mpmd.fragment<mesh="island{stage}", origin=["{task}"]> '
            f"({', '.join(name for name, *_ in operands)}) "
            f"{{atoll.stage = {stage} : i32, atoll.sweep = {sweep} : i32}} ({arguments}) {{",
            *body,
            f"mpmd.return {', '.join(name for name, *_ in made)} : {', '.join(inner for _, inner, _ in made)}",
            f"}} : ({', '.join(outer for _, outer, _ in operands)}) -> ({', '.join(outer for *_, outer in made)})",
        ]
        return ["\n      ".join(lines)]

    def zeros(self):
        lines = []
        for stage in range(self.stages):
            here = self.on(stage)
            body = [
                f"%z{number} = stablehlo.constant dense<{'(0.0, 0.0)' if 'complex' in one.dtype else '0.0'}> : "
                f"{self.tensor(one, one.shape)}"
                for number, one in here
            ]
            made = [(f"%z{number}", self.tensor(one, one.shape), self.mesh(one)) for number, one in here]
            lines += self.fragment(f"%zero{stage}:{len(here)}", f"I{stage}", stage, [], body, made)
        return lines

    def loop(self):
        begin = [
            f"%zero{one.stage}#{[other for other, _ in self.on(one.stage)].index(n)}" for n, one in self.parameters
        ]
        sums = [self.mesh(one) for _, one in self.parameters]
        carried = ", ".join(f"%c{number}: {kind}" for number, kind in enumerate(sums))
        given = [*(f"%c{number}" for number, _ in self.parameters), *(f"%g{number}" for number, _ in self.parameters)]
        types = [*sums, *(self.batch(one) for _, one in self.parameters)]
        results = ", ".join(f"%d#{number}" for number, _ in self.parameters)
        return [
            f"%s:{len(sums)} = mpmd.for ({', '.join(begin)}) "
            f'{{atoll.role = "F", iterations = {self.replicas * self.microbatches} : ui32}} '
            f"({carried}, %i: tensor<ui32>) {{",
            f"%d:{len(sums)} = mpmd.call @microbatch({', '.join(given)}) : ({', '.join(types)}) -> ({', '.join(sums)})",
            f"mpmd.return {results} : {', '.join(sums)}",
            f"}} : {', '.join(sums)}",
        ]

    def microbatch(self):
        sums = [self.mesh(one) for _, one in self.parameters]
        given = [f"%s{number}: {kind}" for number, kind in enumerate(sums)]
        given += [f"%g{number}: {self.batch(one)}" for number, one in self.parameters]
        lines = []
        for stage in range(self.stages):
            operands, body, made = [], [], []
            for number, one in self.on(stage):
                first, inner = len(operands), self.tensor(one, one.shape)
                examples = self.tensor(one, (2, *one.shape))
                operands += [(f"%s{number}", self.mesh(one), inner), (f"%g{number}", self.batch(one), examples)]
                element = f"tensor<{ELEMENTS[one.dtype]}>"
                zero = "(0.0, 0.0)" if "complex" in one.dtype else "0.0"
                body += [
                    f"%none{number} = stablehlo.constant dense<{zero}> : {element}",
                    f"%both{number} = stablehlo.reduce(%a{first + 1} init: %none{number}) applies stablehlo.add "
                    f"across dimensions = [0] : ({examples}, {element}) -> {inner}",
                    f"%more{number} = stablehlo.add %a{first}, %both{number} : {inner}",
                ]
                made.append((f"%more{number}", inner, self.mesh(one)))
            lines += self.fragment(f"%f{stage}:{len(made)}", f"F{stage}", stage, operands, body, made)
        ends = [f"%f{one.stage}#{[other for other, _ in self.on(one.stage)].index(n)}" for n, one in self.parameters]
        lines.append(f"return {', '.join(ends)} : {', '.join(sums)}")
        head = f"func.func private @microbatch({', '.join(given)}) -> ({', '.join(sums)}) {self.mark}"
        return f"  {head} {{\n" + "\n".join(f"    {line}" for line in lines) + "\n  }"

    def norm(self):
        """The sum of squares of all gradients: on each island that of its shares, exchanged there, and sent to all."""
        lines, totals = [], []
        for stage in range(self.stages):
            operands, body = [], ["%sum0 = stablehlo.constant dense<0.0> : tensor<f32>"]
            for count, (number, one) in enumerate(self.on(stage)):
                inner = self.tensor(one, self.share(one))
                operands.append((f"%t{number}", self.mesh(one, self.share(one)), inner))
                dimensions = ", ".join(map(str, range(len(one.shape))))
                body += [
                    f"%square{count} = stablehlo.multiply %a{count}, %a{count} : {inner}",
                    f"%part{count} = stablehlo.reduce(%square{count} init: %sum0) applies stablehlo.add "
                    f"across dimensions = [{dimensions}] : ({inner}, tensor<f32>) -> tensor<f32>",
                    f"%sum{count + 1} = stablehlo.add %sum{count}, %part{count} : tensor<f32>",
                ]
            made = [(f"%sum{len(operands)}", "tensor<f32>", self.scalar(stage))]
            lines += self.fragment(f"%own{stage}", f"U{stage}", stage, operands, body, made)
            kind = self.scalar(stage)
            lines.append(f'%all{stage} = mpmd.transfer {{atoll.exchange = "add"}} %own{stage} : ({kind}) -> {kind}')
            totals.append(f"%all{stage}")
            if stage:
                lines.append(f"%there{stage} = mpmd.transfer %all{stage} : ({kind}) -> {self.scalar()}")
                totals[-1] = f"%there{stage}"
        body = ["%b0 = stablehlo.constant dense<0.0> : tensor<f32>"]
        body += [f"%b{n + 1} = stablehlo.add %b{n}, %a{n} : tensor<f32>" for n in range(self.stages)]
        operands = [(name, self.scalar(), "tensor<f32>") for name in totals]
        made = [(f"%b{self.stages}", "tensor<f32>", self.scalar())]
        lines += self.fragment("%norm0", "U0.1", 0, operands, body, made)
        lines += [
            f"%norm{stage} = mpmd.transfer %norm0 : ({self.scalar()}) -> {self.scalar(stage)}"
            for stage in range(1, self.stages)
        ]
        return lines

    def update(self, stage):
        operands, body, made, names = [], [], [], []
        if self.clipped:
            operands = [(f"%norm{stage}", self.scalar(stage), "tensor<f32>")]
            body = [
                f"%bound = stablehlo.constant dense<{BOUND}> : tensor<f32>",
                f"%half = stablehlo.constant dense<{HALVED}> : tensor<f32>",
                "%whole = stablehlo.constant dense<1.0> : tensor<f32>",
                "%is_large = stablehlo.compare GT, %a0, %bound : (tensor<f32>, tensor<f32>) -> tensor<i1>",
                "%factor = stablehlo.select %is_large, %half, %whole : tensor<i1>, tensor<f32>",
            ]
        for number, one in self.on(stage):
            first, inner, outer = len(operands), self.tensor(one, self.share(one)), self.mesh(one, self.share(one))
            gradient = f"%a{first}"
            if self.clipped:
                body += [
                    f"%factors{number} = stablehlo.broadcast_in_dim %factor, dims = [] : (tensor<f32>) -> {inner}",
                    f"%clipped{number} = stablehlo.multiply {gradient}, %factors{number} : {inner}",
                ]
                gradient = f"%clipped{number}"
            operands += [(f"%{kind}{number}", outer, inner) for kind in "tmq"]
            body += [
                f"%{name}{number} = stablehlo.constant "
                f"dense<{(value, 0.0) if 'complex' in one.dtype else value}> : {inner}"
                for name, value in (("rate", RATE), ("keep", MOMENTUM))
            ]
            body += [
                f"%kept{number} = stablehlo.multiply %a{first + 1}, %keep{number} : {inner}",
                f"%new{number} = stablehlo.add %kept{number}, {gradient} : {inner}",
                f"%step{number} = stablehlo.multiply %new{number}, %rate{number} : {inner}",
                f"%to{number} = stablehlo.subtract %a{first + 2}, %step{number} : {inner}",
            ]
            names += [f"%k{number}", f"%r{number}"]
            made += [(f"%new{number}", inner, outer), (f"%to{number}", inner, outer)]
        task = str(TaskName("U", stage, turn=(1 + (stage == 0)) * self.clipped))
        return self.fragment(", ".join(names), task, stage, operands, body, made)


def numbers(parameters, replicas, microbatches=2, seed=0):
    """Arguments, as `call_flat` takes them: small integers, so that every order of summation gives the same bits."""
    random = numpy.random.default_rng(seed)

    def draw(*shape, dtype):
        return random.integers(-4, 5, shape).astype(dtype)

    given = {}
    for number, one in enumerate(parameters):
        if one.piece:
            shape = list(one.shape)
            shape[one.piece[0]] = one.piece[2]
            for path in ("w", "m.w"):
                if path not in given:
                    given[path] = draw(*shape, dtype=one.dtype)
        else:
            given |= {path: draw(*one.shape, dtype=one.dtype) for path in (f"p{number}", f"m.p{number}")}
        given[f"g{number}"] = draw(2 * replicas * microbatches, *one.shape, dtype=one.dtype)
    return given


def expected_of(parameters, given, clipped=False):
    """What the step should make of its arguments, by path."""
    gradients = [given[f"g{number}"].sum(0, dtype=one.dtype) for number, one in enumerate(parameters)]
    found = {}
    if clipped:
        found["norm"] = numpy.float32(sum((one**2).sum() for one in gradients))
        factor = numpy.float32(HALVED if found["norm"] > BOUND else 1)
        gradients = [one * factor for one in gradients]
    for number, (one, gradient) in enumerate(zip(parameters, gradients, strict=True)):
        path, index = (f"p{number}", ...) if not one.piece else ("w", _index(one))
        momentum = given[f"m.{path}"][index] * numpy.asarray(MOMENTUM, one.dtype) + gradient
        new = given[path][index] - momentum * numpy.asarray(RATE, one.dtype)
        for name, value in ((path, new), (f"m.{path}", momentum)):
            found.setdefault(name, numpy.array(given[name]))[index] = value
    return found


def _index(one):
    dimension, start, _ = one.piece
    return (slice(None),) * dimension + (slice(start, start + one.shape[dimension]),)
