"""What Ray makes a process of. Its driver, which has no use for jax, imports this; so what serves is imported there."""

from atoll.runtime.processes.assignment import Assignment


class IslandActor:
    """The process of an island."""

    def serve(self, assignment: Assignment) -> None:
        """Until nobody needs it any more."""
        serve(assignment)


def serve(assignment: Assignment) -> None:
    """Be the process of an island: for one controller, or for one after another."""
    if assignment.stays:
        from atoll.runtime.keeping.kept_process import stay

        stay(assignment)
    else:
        from atoll.runtime.processes import island_process

        island_process.serve(assignment)
