"""What is said of an array that was given up, to whoever uses it still."""

from typing import NoReturn

from atoll.compiler.errors import UsageError


def refuse(path: str, how: str) -> NoReturn:
    """UsageError for the value at a path of a result. how: whether it was `donated` or `deleted`."""
    if how == "deleted":
        raise UsageError(f"{path} was deleted", remedy="keep it for as long as it is needed")
    what = f"{path} was donated to a step and is gone"
    raise UsageError(what, remedy="use what the step returned instead, or do not donate it")
