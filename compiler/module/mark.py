"""A kind of mark: what it stands on and says, who writes and reads it, and how long it lives."""

from dataclasses import dataclass

# As `pipeline.pipeline` names them; written again here, as this folder may not import that one.
PHASE_NAMES = ("stablehlo", "timed", "staged", "placed", "scheduled")


@dataclass(frozen=True)
class Mark:
    """One kind of mark.

    on: what it stands on.
    says: what it says there.
    since: it is first written on the way to this phase, though people may write it sooner. None if no phase does: it
        stands in a file that reproduces a defect, or where the planner asks for it.
    gone: it is taken away on the way to this phase; None if it lives as long as the module.
    writers: the passes and files that write or change it.
    readers: those that use it in any other way: read it, move it along or take it away.
    """

    name: str
    on: str
    says: str
    since: str | None
    gone: str | None
    writers: tuple[str, ...]
    readers: tuple[str, ...]

    def may_stand(self, phase: str) -> bool:
        """Whether the phase's verifier accepts it."""
        return self.gone is None or PHASE_NAMES.index(phase) < PHASE_NAMES.index(self.gone)

    @property
    def life(self) -> str:
        """From which phase to which it lives, in words."""
        if self.since is None:
            return "on no way to a phase"
        if self.gone is None:
            return f"from `{self.since}` on"
        if self.gone == self.since:
            return f"on the way to `{self.since}`"
        return f"from `{self.since}` until on the way to `{self.gone}`"
