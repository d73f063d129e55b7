"""How long a train step takes: whole by `jax.jit` on one device, in stages by hand, by atoll, and by other systems.

The steps are those that `compile_beside_jit.py` compiles, at their size there (tiny, so that control shows) and larger
(so that the work does), with eight microbatches in the order of 1F1B. Each step is waited for before the next begins.
Sides take turns in one process; a number is the median of its turns. Another system has a process and a Python of its
own, right after these. All have to begin with the same loss.

All devices of a CPU share its cores, so that no pipeline is faster than one device here; what shows is what it costs.

    python benchmarks/step.py --stages 4 --models mlp gpt2
    python benchmarks/step.py --rival jaxpp=../jaxpp/.venv/bin/python
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rows import Row, tell

MICROBATCHES = 8
RIVALS = Path(__file__).resolve().parent / "rivals"
_PATIENCE = 600.0  # seconds for another system


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="*", default=["mlp", "gpt2", "large_mlp", "large_gpt2"])
    parser.add_argument("--stages", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--rival", metavar="NAME=PYTHON", action="append", default=[])
    options = parser.parse_args()
    os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={options.stages}"
    for name in options.models:
        found = compare(name, options.stages, options.rounds)
        for rival in options.rival:
            system, _, python = rival.partition("=")
            found[system] = by_rival(system, python, name, options.stages, options.rounds)
        for side, measured in found.items():
            if not math.isclose(measured.loss, found["jax.jit"].loss, rel_tol=1e-4):
                sys.exit(f"{name}: the loss of {side} is {measured.loss}, and of jax.jit {found['jax.jit'].loss}")
        case = f"{name}, {options.stages} stages"
        milliseconds = {side: 1e3 * measured.seconds for side, measured in found.items()}
        print(case + "".join(f", {side} {one:.2f} ms" for side, one in milliseconds.items()), flush=True)
        tell(Row(case, "ms", milliseconds.pop("atoll"), milliseconds))


@dataclass(frozen=True)
class Measured:
    """seconds: of a step. loss: of the first."""

    seconds: float
    loss: float


def compare(name: str, stages: int, rounds: int) -> dict[str, Measured]:
    """By side."""
    import jax
    from steps import models
    from steps.by_hand import ByHand

    import atoll

    model = getattr(models, name)()
    state, examples = models.filled((model.state, model.examples))
    by_hand = ByHand(model, jax.devices()[:stages], MICROBATCHES)
    plan = atoll.Plan(stages=stages, microbatches=MICROBATCHES, schedule="1f1b")
    with atoll.compile(
        model.step, state, examples, topology=f"{stages} x cpu[1]", plan=plan, batch_argnums=1, donate_argnums=0
    ) as step:
        here = jax.device_put(examples)
        sides = {
            "atoll": Side(step, step.put(state, examples)[0], examples),
            "jax.jit": Side(jax.jit(model.step, donate_argnums=0), jax.device_put(state), here),
            "by hand": Side(by_hand.step, by_hand.place(state), here),
        }
        losses = {side: one.step() for side, one in sides.items()}  # which compiles what is jitted
        taken: dict[str, list[float]] = {side: [] for side in sides}
        for number in range(rounds + 1):
            for side, one in sides.items():
                seconds = one.turn()
                if number:  # the first is for caches
                    taken[side].append(seconds)
    return {side: Measured(statistics.median(taken[side]), losses[side]) for side in sides}


class Side:
    """One of those that take turns: its step, and the state that this brings forward."""

    SECONDS = 0.5  # of a turn, at least

    def __init__(self, step: Callable[[Any, Any], Any], state: Any, examples: Any) -> None:  # noqa: ANN401 (trees)
        self._step, self._state, self._examples = step, state, examples

    def turn(self) -> float:
        """Seconds of a step."""
        began, steps = time.perf_counter(), 0
        while not steps or time.perf_counter() - began < self.SECONDS:
            self._make()
            steps += 1
        return (time.perf_counter() - began) / steps

    def step(self) -> float:
        """Its loss; those of microbatches are parts of it."""
        return float(sum(map(float, self._make())))

    def _make(self) -> list[Any]:
        import jax

        self._state, loss = self._step(self._state, self._examples)
        for one in jax.tree.leaves((self._state, loss)):
            one.block_until_ready()
        return jax.tree.leaves(loss)


def by_rival(system: str, python: str, model: str, stages: int, rounds: int) -> Measured:
    """What goes wrong there ends this run, with what it printed."""
    command = [python, str(RIVALS / f"{system}_step.py"), model, str(stages), str(MICROBATCHES), str(rounds)]
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}  # XLA_FLAGS has the devices
    told = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=_PATIENCE, check=False)
    if told.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{told.stderr}")
    found = json.loads(told.stdout.splitlines()[-1])
    return Measured(found["seconds"], found["loss"])


if __name__ == "__main__":
    main()
