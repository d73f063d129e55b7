"""Prints how long it takes to compile train steps: whole by `jax.jit`, in stages by hand, and by atoll, cold and warm.

    python benchmarks/compile_beside_jit.py [mlp | transformer | gpt2 ...]

In processor seconds, of all threads. Beside them is how many functions XLA has compiled. Warm is what takes the same
from a persistent compilation cache. Something else is compiled before, so that nothing is imported meanwhile.
"""

import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import Any

import jax
from jax.experimental.compilation_cache import compilation_cache
from rows import Row, tell
from steps import models
from steps.by_hand import compile_stages

import atoll

ISLANDS = (1, 2, 4)
MICROBATCHES = 4

_EVENTS: Counter[str] = Counter()


@dataclass(frozen=True)
class Taken:
    """seconds: of the processor. compiled: how many functions."""

    seconds: float
    compiled: int

    def __str__(self) -> str:
        return f"{self.seconds:6.2f} s, {self.compiled:2} compiled"


def taken(work: Callable[..., None], *arguments: Any) -> Taken:  # noqa: ANN401 (whatever it takes)
    jax.clear_caches()
    _EVENTS.clear()
    began = time.process_time()
    work(*arguments)
    seconds = time.process_time() - began
    return Taken(seconds, _EVENTS["backend_compile_duration"] - _EVENTS["cache_hits"])


def whole(model: models.Model) -> None:
    jax.jit(model.step, donate_argnums=0).lower(model.state, model.examples).compile()


def on_islands(model: models.Model, islands: int) -> None:
    plan = atoll.Plan(stages=islands, microbatches=MICROBATCHES, schedule="1f1b" if islands > 1 else "auto")
    topology = f"{islands} x cpu[1]"
    atoll.compile(
        model.step, model.state, model.examples, topology=topology, plan=plan, batch_argnums=1, donate_argnums=0
    ).close()


def use_cache(folder: str | None) -> None:
    compilation_cache.reset_cache()
    jax.config.update("jax_compilation_cache_dir", folder)


def main() -> None:
    jax.config.update("jax_num_cpu_devices", max(ISLANDS))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.monitoring.register_event_listener(lambda event, **_: _EVENTS.update([event.rpartition("/")[2]]))
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, *_, **__: _EVENTS.update([event.rpartition("/")[2]])
    )
    use_cache(None)
    on_islands(models.mlp(2, 8), 2)
    for name in sys.argv[1:] or ("mlp", "transformer", "gpt2"):
        model = getattr(models, name)()
        jit = taken(whole, model)
        print(f"{name}, jax.jit    {jit}", flush=True)
        for islands in ISLANDS:
            devices = jax.devices()[:islands]
            rows = {
                "by hand": taken(compile_stages, model, devices, MICROBATCHES),
                "atoll": taken(on_islands, model, islands),
            }
            with TemporaryDirectory() as folder:
                use_cache(folder)
                on_islands(model, islands)
                rows["atoll, warm"] = taken(on_islands, model, islands)
                use_cache(None)
            case, jits = f"{name}, {islands} islands", {"jax.jit": jit.seconds}
            hands = {"by hand": rows["by hand"].seconds}
            tell(Row(f"compile {case}", "s", rows["atoll"].seconds, jits | hands))
            tell(Row(f"compile {case}, warm", "s", rows["atoll, warm"].seconds, jits))
            for title, row in rows.items():
                ratio = row.seconds / jit.seconds
                print(f"    {islands} islands, {title:<11} {row}, {ratio:.1f} x jax.jit", flush=True)


if __name__ == "__main__":
    main()
