"""Training with checkpoints: a run goes on where it stopped, and goes back when the loss has jumped.

    python examples/palm/run.py FOLDER STEPS ["TOPOLOGY" "PLAN"]

trains the toy until it has done so many steps, with a checkpoint after every 10.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
from atoll.examples.palm.data import batch
from atoll.examples.palm.sizes import TOY, Size
from atoll.examples.palm.spikes import batch_number, has_jumped, restart
from atoll.examples.palm.toy import job
from atoll.examples.palm.train import init_state

import atoll

State = Any  # a pytree of arrays

TOPOLOGY = "4 x cpu[1]"
PLAN = "stages=2, microbatches=2, schedule=zb-h1, replicas=2"
_JOURNAL = "journal.json"


@dataclass(frozen=True)
class Care:
    """How a run is looked after, in steps.

    every: between two checkpoints.
    before, after: how many steps before a jump of the loss to go back at least, and how many batches after it to
        leave out.
    """

    every: int = 100
    before: int = 100
    after: int = 200


@dataclass(frozen=True)
class Journal:
    """What a run knows beside its state. losses: of every step so far; skipped: the batches that are left out."""

    losses: tuple[float, ...] = ()
    skipped: tuple[range, ...] = ()

    def write(self, file: Path) -> None:
        """Never half: whoever is killed meanwhile still has the one before."""
        unfinished = file.with_name(f"{file.name}.unfinished")
        gaps = [[gap.start, gap.stop] for gap in self.skipped]
        unfinished.write_text(json.dumps({"losses": self.losses, "skipped": gaps}))
        unfinished.replace(file)

    @classmethod
    def read(cls, file: Path) -> "Journal":
        """An empty one if there is none yet."""
        if not file.exists():
            return cls()
        found = json.loads(file.read_text())
        return cls(tuple(found["losses"]), tuple(range(*gap) for gap in found["skipped"]))


@dataclass(frozen=True)
class Checkpoint:
    """One that is being written while the steps after it run; none before the first. journal: as it was then."""

    saving: Any = None
    journal: Journal = Journal()

    def end(self, file: Path) -> None:
        """Wait until it is written; then its journal may say that it is there."""
        if self.saving is not None:
            self.saving.wait()
            self.journal.write(file)


def run(
    step: Callable[[State, Any], tuple[State, Any]],
    initial: Callable[[], State],
    size: Size,
    steps: int,
    folder: Path,
    care: Care = Care(),
) -> tuple[State, Journal]:
    """Train up to a number of steps in all, with the checkpoints and the journal in a folder.

    In a folder in which a run has stopped it goes on: numbers and bits are those of a run that did not stop.
    step: the train step, compiled by whatever; initial: makes the state before the first step.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / _JOURNAL
    journal = Journal.read(file)

    def state_after(count: int) -> State:
        return atoll.load_checkpoint(folder, jax.eval_shape(initial), step=count) if count else initial()

    state = state_after(len(journal.losses))
    checkpoint = Checkpoint()
    while (done := len(journal.losses)) < steps:
        state, loss = step(state, batch(batch_number(done, journal.skipped), size))
        journal = replace(journal, losses=(*journal.losses, float(loss)))
        if has_jumped(journal.losses):
            checkpoint.end(file)
            back = restart(done, journal.skipped, care.every, care.before, care.after)
            journal = Journal(journal.losses[: back.step], back.skipped)
            state = state_after(back.step)
            journal.write(file)
        elif (done + 1) % care.every == 0:
            checkpoint.end(file)
            checkpoint = Checkpoint(atoll.save_checkpoint(folder, done + 1, state), journal)
    checkpoint.end(file)
    return state, journal


def main(folder: str, steps: str, topology: str = TOPOLOGY, plan: str = PLAN) -> None:
    """Train the toy; in a folder in which a run has stopped, from there on, by whatever plan."""
    done = len(Journal.read(Path(folder, _JOURNAL)).losses)
    with atoll.compile(job, topology=topology, plan=atoll.Plan.parse(plan)) as step:
        _, journal = run(
            step, lambda: init_state(jax.random.key(0), TOY), TOY, int(steps), Path(folder), Care(every=10)
        )
    for number in range(done, len(journal.losses), 10):
        print(f"step {number + 1:3}  loss {journal.losses[number]:.4f}")


if __name__ == "__main__":
    if len(sys.argv) not in (3, 5):
        sys.exit(__doc__)
    main(*sys.argv[1:])
