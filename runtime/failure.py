"""What stands in place of a value that could not be computed: text, so that it travels where exceptions cannot."""

from dataclasses import dataclass

from atoll.compiler.errors import AtollError, IslandLost
from atoll.runtime.program import Program, Run

# Of a message of the user's.
_MOST_LINES = 20


@dataclass(frozen=True)
class Failure:
    """What is computed from it fails in the same way.

    what, where, remedy, excerpt: as errors have them.
    is_of_device: whether `what` is only what the device said; which task is to blame stands in the records of its step.
    is_loss: whether it is that an island was lost.
    """

    what: str
    where: str = ""
    remedy: str = ""
    is_of_device: bool = False
    is_loss: bool = False
    excerpt: str = ""

    @classmethod
    def of(cls, error: AtollError) -> "Failure":
        return cls(error.what, error.where, error.remedy, excerpt=error.excerpt)

    @classmethod
    def loss(cls, what: str) -> "Failure":
        """Of an island."""
        return cls(what, remedy="make a new cluster and start from what was saved", is_loss=True)

    @property
    def error(self) -> AtollError:
        """A new one each time, as an error that is raised keeps what stands on the stack."""
        return (IslandLost if self.is_loss else AtollError)(self.what, self.where, self.remedy, self.excerpt)


def task_failure(program: Program, island: str, index: int, why: str) -> Failure:
    """The failure of a task, in the user's words."""
    run = next(one for one in program.islands if one.name == island).instructions[index]
    assert isinstance(run, Run)
    code = program.codes[run.code]
    scopes = f" ({code.scopes})" if code.scopes else ""
    return Failure(f"task {run.task}, fragment {code.name}{scopes}, failed on island {island}: {why}", code.where)


def reason(error: BaseException) -> str:
    """The sentence of an error: XLA puts the exception of a host callback last, below a traceback."""
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    traced = next((index for index, line in enumerate(lines) if "Traceback (most recent call last)" in line), None)
    if traced is None:
        said = " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]
        return said.rstrip(".")
    raised = [line for line in str(error).splitlines()[traced + 1 :] if line[:1].strip() and ":" in line]
    return (raised[0] if raised else lines[-1]).strip().rstrip(".")


def further_lines(error: BaseException) -> str:
    """The message of an error of the user's as an excerpt, if `reason` leaves out some of its lines."""
    lines = str(error).strip().splitlines()
    shown = [f"  {line}" for line in lines[:_MOST_LINES]]
    more = [f"  and {len(lines) - _MOST_LINES} more lines"] if len(lines) > _MOST_LINES else []
    return "\n".join([*shown, *more]) if len(lines) > 1 else ""
