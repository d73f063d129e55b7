"""What Ray makes a process of. Its driver, which has no use for jax, imports this; so what serves is imported there."""

from atoll.runtime.processes.assignment import Assignment


class IslandActor:
    """The process of an island."""

    def serve(self, assignment: Assignment) -> None:
        """Until the controller lets go."""
        from atoll.runtime.processes.island_process import serve

        serve(assignment)
