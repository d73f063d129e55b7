"""atoll runs one JAX function on many islands of accelerators, with the same answer as `jax.jit`.

Names are loaded when they are first used: `import atoll` and `atoll --help` import neither jax nor anything heavy.
"""

import importlib
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from atoll.checkpoint.loading import checkpoint_steps, load_checkpoint
    from atoll.checkpoint.saving import save_checkpoint
    from atoll.compiler.cluster import Cluster
    from atoll.compiler.compiled import Compiled, load
    from atoll.compiler.compiled_ahead import CompiledAhead
    from atoll.compiler.conversion import from_jax, to_jax
    from atoll.compiler.errors import AtollError, CompileError, IslandLost, PlanError, TopologyError
    from atoll.compiler.export.feed import Feed
    from atoll.compiler.export.job import Job
    from atoll.compiler.lowered import Lowered, compile, lower  # noqa: A004 (a fixed name)
    from atoll.compiler.plan.plan import Plan
    from atoll.compiler.report.report import Report
    from atoll.compiler.schedules.kinds import schedule
    from atoll.compiler.schedules.schedule import Schedule
    from atoll.compiler.topology.topology import Topology, topology
    from atoll.runtime.array import Array

__all__ = [
    "Array",
    "AtollError",
    "Cluster",
    "CompileError",
    "Compiled",
    "CompiledAhead",
    "Feed",
    "IslandLost",
    "Job",
    "Lowered",
    "Plan",
    "PlanError",
    "Report",
    "Schedule",
    "Topology",
    "TopologyError",
    "checkpoint_steps",
    "compile",
    "from_jax",
    "load",
    "load_checkpoint",
    "lower",
    "save_checkpoint",
    "schedule",
    "to_jax",
    "topology",
]

_MODULES = {
    "Array": "runtime.array",
    "AtollError": "compiler.errors",
    "Cluster": "compiler.cluster",
    "CompileError": "compiler.errors",
    "Compiled": "compiler.compiled",
    "CompiledAhead": "compiler.compiled_ahead",
    "Feed": "compiler.export.feed",
    "IslandLost": "compiler.errors",
    "Job": "compiler.export.job",
    "Lowered": "compiler.lowered",
    "Plan": "compiler.plan.plan",
    "PlanError": "compiler.errors",
    "Report": "compiler.report.report",
    "Schedule": "compiler.schedules.schedule",
    "Topology": "compiler.topology.topology",
    "TopologyError": "compiler.errors",
    "checkpoint_steps": "checkpoint.loading",
    "compile": "compiler.lowered",
    "from_jax": "compiler.conversion",
    "load": "compiler.compiled",
    "load_checkpoint": "checkpoint.loading",
    "lower": "compiler.lowered",
    "save_checkpoint": "checkpoint.saving",
    "schedule": "compiler.schedules.kinds",
    "to_jax": "compiler.conversion",
    "topology": "compiler.topology.topology",
}

if os.environ.get("ATOLL_LOG"):
    importlib.import_module("atoll.compiler.logs").follow_environment()

if not TYPE_CHECKING:  # for which a module with this has every name

    def __getattr__(name: str) -> object:
        if name not in _MODULES:
            what = f"module 'atoll' has no attribute {name!r}; it has {', '.join(__all__)}"
            raise AttributeError(what, name=name, obj=sys.modules[__name__])  # by which Python says what is near
        return getattr(importlib.import_module(f"atoll.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
