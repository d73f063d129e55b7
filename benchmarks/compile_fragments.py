"""Prints how long XLA takes for the fragments of a train step, one after the other and several at a time.

    python benchmarks/compile_fragments.py [LAYERS]

With each turn both are lowered and compiled anew; the ratio is the median over the turns.
"""

import statistics
import sys
import time

import jax
from atoll.compiler.topology.devices import meshes_of
from atoll.compiler.topology.topology import Topology
from atoll.examples import decoder
from atoll.runtime.compilation import AT_A_TIME, compile_program
from atoll.runtime.devices import Devices
from atoll.runtime.program import Program
from rows import Row, tell

import atoll

ISLANDS = 4
TURNS = 3


def compiled(layers: int) -> tuple[Program, Topology]:
    config = decoder.Config(vocabulary=16, width=64, heads=2, layers=layers, length=16)
    state = jax.eval_shape(lambda key: decoder.init_state(key, config), jax.random.key(0))
    tokens = jax.ShapeDtypeStruct((8, config.length + 1), "int32")
    plan = atoll.Plan(stages=ISLANDS, microbatches=4)
    with atoll.compile(
        decoder.train_step,
        state,
        tokens,
        topology=f"{ISLANDS} x cpu[1]",
        plan=plan,
        batch_argnums=1,
        donate_argnums=0,
    ) as step:
        return step.program, step.topology


def main() -> None:
    jax.config.update("jax_num_cpu_devices", ISLANDS)
    program, topology = compiled(int(sys.argv[1]) if sys.argv[1:] else 12)
    meshes = meshes_of(topology)
    ratios, alone = [], []
    for _ in range(TURNS):
        seconds, cores = [], []
        for at_a_time in (1, AT_A_TIME):
            began, busy = time.perf_counter(), time.process_time()
            made = compile_program(program, meshes, meshes, Devices(), (), lambda *_: None, at_a_time=at_a_time)
            seconds.append(time.perf_counter() - began)
            cores.append((time.process_time() - busy) / seconds[-1])
        count = sum(map(len, made.values()))
        one, several = (f"{taken:.1f} s on {used:.1f} cores" for taken, used in zip(seconds, cores, strict=True))
        print(f"{count} fragments: one at a time {one}, {AT_A_TIME} at a time {several}")
        ratios.append(seconds[1] / seconds[0])
        alone.append(seconds[0])
    one = statistics.median(alone)
    tell(Row(f"XLA compiles {count} fragments", "s", one * statistics.median(ratios), {"one at a time": one}))
    print(f"ratio {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
