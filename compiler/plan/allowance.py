"""What a plan lets a step cost that goes over the batch more than once."""

import re
from dataclasses import dataclass
from typing import NoReturn

from atoll.compiler.errors import PlanError
from atoll.compiler.text.language import shown
from atoll.compiler.text.quantities import MEMORY, amount_text, exact_amount, whole_number

# Going forward once more is a third of a train step's work; beyond half of it memory is the lesser price.
EXTRA = 50

_PERCENT = re.compile(r"(\d{1,18}) ?%")
_BYTES = re.compile(r"(\d{1,18}(?:\.\d{1,18})?) ?([A-Za-z]+)")


@dataclass(frozen=True)
class Allowance:
    """percent: how much of the model's work may be done again.

    kept: how many bytes a device may keep of the batch for later loops; None if the plan does not say. Then what is
    dear to make again is kept while it takes no more memory than the arguments, and all of it where too much work would
    be done again: that takes the memory that one microbatch takes.
    """

    percent: int = EXTRA
    kept: int | None = None

    @classmethod
    def of(cls, value: object) -> "Allowance":
        """What a plan's `extra` says: a number of percent, or a text such as `20%, 2 GB`; raises PlanError."""
        if not isinstance(value, str):
            percent = whole_number("extra", value, PlanError, least=0)
            return cls(percent, None if percent else 0)
        first, comma, second = (part.strip() for part in value.partition(","))
        share = _PERCENT.fullmatch(first)
        if share is None and comma:
            _wrong(value)
        percent = EXTRA if share is None else int(share[1])
        if share is not None and not comma:
            return cls.of(percent)
        return cls(percent, _bytes(second if comma else first, value))

    @property
    def value(self) -> int | str:
        """What a plan says for it, in one spelling."""
        if self == Allowance.of(self.percent):
            return self.percent
        assert self.kept is not None
        return f"{self.percent}%, {amount_text(self.kept, MEMORY)}"


def _bytes(text: str, value: str) -> int:
    match = _BYTES.fullmatch(text)
    if match is None or match[2] not in MEMORY:
        _wrong(value)
    try:
        return exact_amount(match[1], match[2], MEMORY)
    except ValueError as fault:
        raise PlanError(f"extra: {fault}") from None


def _wrong(value: str) -> NoReturn:
    what = f"extra takes percent of the work, bytes that are kept, or both, not {shown(value)}"
    raise PlanError(what, remedy=f'write them as in "20%, 2 GB"; units are {" ".join(MEMORY)}')
