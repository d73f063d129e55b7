"""Lowers a TARGET for the islands and by the plan that the command line gives."""

import argparse
from dataclasses import dataclass
from pathlib import Path

import jax
from atoll.compiler.commands.target import load_module, load_target
from atoll.compiler.commands.topology_option import topology_asked
from atoll.compiler.emit.emit import signature_of_module
from atoll.compiler.errors import UsageError
from atoll.compiler.export.job import Job
from atoll.compiler.lowered import Lowered, lower, lower_module
from atoll.compiler.mlir.bindings import ir
from atoll.compiler.module.planned import topology_of
from atoll.compiler.pipeline.pipeline import PHASES
from atoll.compiler.pipeline.resume import phase_of, write_texts
from atoll.compiler.plan.plan import Plan
from atoll.compiler.saving import difference_of_islands
from atoll.compiler.topology.devices import reserve_cpu_devices
from atoll.compiler.topology.topology import Topology, topology

# The types that jax makes narrower unless it is told otherwise.
_WIDE = frozenset(("int64", "uint64", "float64", "complex128"))


@dataclass(frozen=True)
class Asked:
    """How a target is to be cut, and for which islands; None is what the target itself says, or else the usual."""

    islands: Topology | None
    plan: Plan | None

    @classmethod
    def of(cls, options: argparse.Namespace) -> "Asked":
        """What --topology and --plan say."""
        return cls(
            None if options.topology is None else topology(options.topology),
            None if options.plan is None else Plan.parse(options.plan),
        )


def open_target(options: argparse.Namespace, asked: Asked) -> Job | ir.Module:
    """The job, or the module with its marks, that a TARGET names; UsageError for options that would have no effect."""
    if asked.islands is not None:
        reserve_cpu_devices(asked.islands)  # before the user's file is loaded, as it may use jax
    elif ".py:" in options.target:  # a job does not say for which islands it is
        topology_asked(options)
    target = load_target(options)
    if not isinstance(target, Path):
        return target
    module = load_module(target, options)
    _check_can_change(module, target, asked)
    return module


def lower_target(target: Job | ir.Module, asked: Asked) -> Lowered:
    """A target that was opened, lowered."""
    if isinstance(target, Job):
        assert asked.islands is not None
        return lower(target, topology=asked.islands, plan=asked.plan or Plan())
    write_texts(target, asked.islands, asked.plan)
    islands = topology_of(target)
    reserve_cpu_devices(islands)
    if any(one.dtype in _WIDE for one in signature_of_module(target).inputs):
        jax.config.update("jax_enable_x64", True)  # type: ignore[no-untyped-call] # as where the module was made
    return lower_module(target, islands)


def _check_can_change(module: ir.Module, path: Path, asked: Asked) -> None:
    """UsageError for what the module's phase has already carried out."""
    phase = phase_of(module)
    if phase is None or phase is PHASES[0]:
        return
    remedy = "leave it out, or take the job or a module of an earlier phase"
    if asked.plan is not None:
        raise UsageError(f"--plan: the module is at phase {phase.name}, cut by the plan that it has", str(path), remedy)
    if asked.islands is None or phase.name in ("timed", "staged"):
        return
    if told := difference_of_islands(topology_of(module), asked.islands):
        what = f"--topology: the module is at phase {phase.name} on other islands: {told}"
        raise UsageError(what, str(path), remedy)
