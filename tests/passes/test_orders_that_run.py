"""Whatever order of tasks `verify-scheduled` accepts, no island waits for ever, for arguments either.

`nodes_of` knows which task needs which; it says nothing of the arguments of the loop that go to other islands. Those
are sent ahead of all tasks, or behind a task that whoever gets them waits for anyway. So each order that the tasks
alone allow must run, which the runtime's own check of the streams decides.
"""

import random

import pytest
from atoll.compiler.emit.emit import emit, signature_of_module
from atoll.compiler.emit.loop_body import LoopBody
from atoll.compiler.mlir.bindings import mpmd
from atoll.compiler.mlir.functions import operations_in
from atoll.compiler.mlir.ir_text import parse_text
from atoll.compiler.module.main_function import entry_function
from atoll.compiler.module.tasks import dataflow_functions
from atoll.compiler.pipeline.pass_manager import run_passes
from atoll.compiler.pipeline.registry import steps_of_text
from atoll.runtime.check import check

pytestmark = pytest.mark.own

ISLANDS, ARGUMENTS, TASKS, MICROBATCHES = 2, 2, 7, 3
TOPOLOGY = ", ".join(f'<"island{one}" : <["devices"=1]>>' for one in range(ISLANDS))
TOPOLOGY = f"attributes {{topology = #mpmd.topology<{TOPOLOGY}>}}"


def on(island):
    return f'!mpmd.mesh_tensor<"island{island}", tensor<4xf32>>'


class Drawn:
    """A random loop: tasks on islands, that take arguments and each other's results from wherever these are."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.homes = [self.random.randrange(ISLANDS) for _ in range(ARGUMENTS)]
        self.values = [(f"%x{number}", home, None) for number, home in enumerate(self.homes)]
        self.lines, self.needs, self.islands, self.there = [], [], [], {}
        for number in range(TASKS):
            self._add_task(number)

    def _add_task(self, number):
        island = self.random.randrange(ISLANDS)
        taken = [
            self.random.choice(self.values[:ARGUMENTS]),
            *self.values[ARGUMENTS:][-1:],
        ]  # a chain, for the most part
        taken = taken[: self.random.choice((1, 2, 2, 2))]
        names = [self._brought(name, home, island) for name, home, _ in taken]
        self.needs.append({maker for _, _, maker in taken if maker is not None})
        self.islands.append(island)
        types = ", ".join(on(island) for _ in names)
        self.lines.append(
            f'%t{number} = mpmd.fragment_call<mesh="island{island}", origin=["F{number}"]> @f{len(names)}'
            f"({', '.join(names)}) : ({types}) -> {on(island)}"
        )
        self.values.append((f"%t{number}", island, number))

    def _brought(self, name, home, island):
        """A value on an island, sent there once."""
        if home == island:
            return name
        if (name, island) not in self.there:
            self.there[name, island] = f"%s{len(self.there)}"
            self.lines.append(f"{self.there[name, island]} = mpmd.transfer {name} : ({on(home)}) -> {on(island)}")
        return self.there[name, island]

    def rows(self):
        """A random order that the tasks allow."""
        left = [(task, microbatch) for task in range(TASKS) for microbatch in range(MICROBATCHES)]
        rows = {f"island{island}": [] for island in range(ISLANDS)}
        while left:
            ready = [one for one in left if not any((needed, one[1]) in left for needed in self.needs[one[0]])]
            task, microbatch = self.random.choice(ready)
            left.remove((task, microbatch))
            rows[f"island{self.islands[task]}"].append(f"F{microbatch}@{task}")
        return rows

    def text(self):
        order = ", ".join(f'{island} = "{" ".join(row)}"' for island, row in self.rows().items())
        last = self.islands[-1]
        marks = f"atoll.parts = {MICROBATCHES} : i32"
        given = ", ".join(
            f'%x{number}: {on(home)} {{atoll.batch, {marks}, atoll.path = "x{number}"}}'
            for number, home in enumerate(self.homes)
        )
        taken, types = ", ".join(f"%x{one}" for one in range(ARGUMENTS)), ", ".join(map(on, self.homes))
        parameters = ", ".join(f"%x{number}: {on(home)}" for number, home in enumerate(self.homes))
        body = "\n    ".join(self.lines)
        return f"""
module attributes {{atoll.phase = "placed", atoll.plan = "microbatches={MICROBATCHES}",
                    atoll.topology = "{ISLANDS} x cpu[1]"}} {{
  func.func @main({given}, %z: {on(last)} {{atoll.path = "z"}})
      -> ({on(last)} {{atoll.path = "result", {marks}, atoll.parts_dimension = 0 : i32}}) {TOPOLOGY} {{
    %r = mpmd.for (%z) {{atoll.order = {{{order}}}, atoll.parts = array<i64: 0>, atoll.role = "F",
                          iterations = {MICROBATCHES} : ui32}}
        (%a: {on(last)}, %i: tensor<ui32>) {{
      %c = mpmd.call @microbatch({taken}) : ({types}) -> {on(last)}
      mpmd.return %c : {on(last)}
    }} : {on(last)}
    return %r : {on(last)}
  }}
  func.func private @microbatch({parameters}) -> {on(last)} {TOPOLOGY} {{
    {body}
    return %t{TASKS - 1} : {on(last)}
  }}
  func.func private @f1(%a: tensor<4xf32>) -> tensor<4xf32> attributes {{mesh_shape = #sdy.mesh<["devices"=1]>}} {{
    return %a : tensor<4xf32>
  }}
  func.func private @f2(%a: tensor<4xf32>, %b: tensor<4xf32>) -> tensor<4xf32>
      attributes {{mesh_shape = #sdy.mesh<["devices"=1]>}} {{
    %0 = stablehlo.add %a, %b : tensor<4xf32>
    return %0 : tensor<4xf32>
  }}
}}"""


@pytest.fixture(scope="module")
def programs():
    """Modules that were accepted, and what is made of them."""
    made = []
    for seed in range(120):
        module = parse_text(Drawn(seed).text())
        run_passes(module, steps_of_text("verify-scheduled"))
        made.append((module, emit(module, signature_of_module(module))))
    return made


def test_every_order_that_is_accepted_runs_to_its_end(programs):
    for _, program in programs:
        check(program)


def test_arguments_are_sent_ahead_of_tasks_and_behind_them(programs):
    """Both ways occur often, so that the test above says something of both."""
    ways = {True: 0, False: 0}
    for module, _ in programs:
        (loop,) = operations_in(entry_function(module), mpmd.ForOp)
        body = LoopBody.of(loop, dataflow_functions(module)["microbatch"], entry_function(module), 1)
        for value in body.taken:
            if value in body.transfers_of:
                ways[value in body.sent_ahead] += 1
    assert min(ways.values()) > 20, ways
