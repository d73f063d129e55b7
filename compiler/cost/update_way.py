"""Who makes the update, all replicas or each its share, and where what only the update reads is between steps."""

from dataclasses import dataclass


@dataclass(frozen=True)
class UpdateWay:
    """shared_by: how many replicas share the update, and what only it reads; 1 if each makes all of it.

    is_offloaded: whether what only the update reads is in the memory of the host between steps.
    """

    shared_by: int = 1
    is_offloaded: bool = False

    @property
    def is_shared(self) -> bool:
        return self.shared_by > 1


# As a plan has it that says nothing of it.
USUAL = UpdateWay()
