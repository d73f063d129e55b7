"""A program on more islands: its topology several times over, its batch as many times, its plan for what each has."""

from dataclasses import replace
from typing import Any

import jax
from atoll.compiler.export.batch_axes import axes_of
from atoll.compiler.export.job import Job
from atoll.compiler.plan.plan import Plan
from atoll.compiler.plan.resolved_plan import resolved
from atoll.compiler.topology.topology import Topology


def topology_of_copies(one: Topology, copies: int) -> Topology:
    """The islands again and again, copy by copy, so that each copy has whole replicas.

    Within a copy links are as they are; between copies as all links that are not written.
    """
    if copies == 1:
        return one
    names = {island.name for island in one.islands}
    numbered = names == {f"island{number}" for number in range(len(one.islands))}

    def name_in(copy: int, number: int) -> str:
        if numbered:
            return f"island{copy * len(one.islands) + number}"
        return one.islands[number].name + (f".{copy}" if copy else "")

    number_of = {island.name: number for number, island in enumerate(one.islands)}
    return Topology(
        tuple(
            replace(island, name=name_in(copy, number))
            for copy in range(copies)
            for number, island in enumerate(one.islands)
        ),
        tuple(
            replace(link, source=name_in(copy, number_of[link.source]), target=name_in(copy, number_of[link.target]))
            for copy in range(copies)
            for link in one.links
        ),
        one.others,
        one.rates,
    )


def job_of_copies(job: Job, copies: int) -> Job:
    """The job with a batch so many times as large: of its arguments, the shapes are what matters."""
    if copies == 1:
        return job
    args = []
    for number, argument in enumerate(job.args):
        if number in job.static_argnums:
            args.append(argument)
            continue
        leaves, structure = jax.tree.flatten(argument)
        longer = [
            leaf if axis is None else _longer(leaf, axis, copies)
            for leaf, axis in zip(leaves, axes_of(job, number), strict=True)
        ]
        args.append(jax.tree.unflatten(structure, longer))
    made = Job(
        job.fn,
        *args,
        batch_axes=job.batch_axes,
        donate_argnums=job.donate_argnums,
        static_argnums=job.static_argnums,
        in_shardings=job.in_shardings,
        out_shardings=job.out_shardings,
    )
    made.where, made.mesh = job.where, job.mesh
    return made


def _longer(leaf: Any, axis: int, copies: int) -> jax.ShapeDtypeStruct:  # noqa: ANN401 (whatever has a shape)
    shape = list(jax.numpy.shape(leaf))
    shape[axis] *= copies
    sharding = getattr(leaf, "sharding", None)
    return jax.ShapeDtypeStruct(  # type: ignore[no-untyped-call] # as jax has it
        tuple(shape),
        leaf.dtype if hasattr(leaf, "dtype") else jax.numpy.result_type(leaf),
        sharding=sharding if isinstance(sharding, jax.sharding.NamedSharding) else None,
    )


def plan_of_copies(plan: Plan, islands: int, copies: int, batch: int | None, *, is_weak: bool) -> Plan:
    """The plan for so many copies of the topology, of which `islands` are one.

    Where the batch grows along, each replica does what it did. Where it stays, each has a part of it: as long as there
    are enough microbatches, fewer of them, and then smaller ones.
    """
    known = resolved(plan, islands)
    replicas, microbatches = known.replicas * copies, known.microbatches
    if not is_weak and batch is not None:
        own = batch // replicas
        most = max(1, microbatches // copies)
        microbatches = max(one for one in range(1, most + 1) if own % one == 0)
    stages = plan.stages if plan.placement is not None else known.stages
    return replace(plan, stages=stages, microbatches=microbatches, replicas=replicas)
