"""The settings of jax's that a program is compiled with, wherever that is."""

from collections.abc import Mapping
from typing import Any

import jax
from jax.experimental.compilation_cache import compilation_cache

# What XLA is told of them, beside a module, decides what it makes of it. Each with what jax has if nobody has set it.
_OF_XLA = {
    "jax_compiler_enable_remat_pass": True,
    "jax_disable_most_optimizations": False,
    "jax_exec_time_optimization_effort": 0.0,
    "jax_memory_fitting_effort": 0.0,
    "jax_memory_fitting_level": "O2",
    "jax_optimization_level": "UNKNOWN",
}

_NAMES = (
    *_OF_XLA,
    "jax_compilation_cache_dir",
    "jax_enable_compilation_cache",
    "jax_enable_x64",
    "jax_persistent_cache_min_compile_time_secs",
    "jax_persistent_cache_min_entry_size_bytes",
)


def current() -> dict[str, Any]:
    """Those that hold for this thread, of those that this jax has."""
    return {name: _value(name) for name in _NAMES if name in jax.config.values}


def told_to_xla() -> str:
    """Those that decide what XLA makes of a module, where somebody has set them; empty where nobody has."""
    values = current()
    return " ".join(f"{name}={values[name]}" for name, usual in _OF_XLA.items() if values.get(name, usual) != usual)


# After the first compilation jax does not look again where its cache is, or whether there is one.
_OF_THE_CACHE = {"jax_compilation_cache_dir", "jax_enable_compilation_cache"}


def apply(settings: Mapping[str, Any]) -> None:
    """Have them hold in this process, which does nothing for anybody else at the same time."""
    changed = {name: value for name, value in settings.items() if _value(name) != value}
    for name, value in changed.items():
        jax.config.update(name, value)  # type: ignore[no-untyped-call] # jax's
    if _OF_THE_CACHE & changed.keys():
        compilation_cache.reset_cache()


def _value(name: str) -> Any:  # noqa: ANN401 (whatever it is)
    # What a thread can set for itself is an attribute; some of the others are not.
    return getattr(jax.config, name) if hasattr(jax.config, name) else jax.config.values[name]
