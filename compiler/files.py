"""Files that the user names."""

import os
import stat
from pathlib import Path

from atoll.compiler.errors import UsageError

# The name of the module that a user's Python file is loaded as.
TARGET_MODULE = "__atoll_target__"


def check_readable(path: Path, remedy: str) -> None:
    """Refuse what cannot be read as a file. It is not opened to find out, as a pipe can be opened only once."""
    try:
        is_folder = stat.S_ISDIR(path.stat().st_mode)
    except OSError as error:
        reason = error.strerror
    else:
        reason = "it is a folder" if is_folder else "" if os.access(path, os.R_OK) else "Permission denied"
    if reason:
        raise UsageError(f"cannot read: {reason}", str(path), remedy)
