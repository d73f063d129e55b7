"""Files that the user names."""

import errno
import os
import stat
from pathlib import Path

from atoll.compiler.errors import UsageError, path_fault

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


def check_writable(*paths: str | Path | None) -> None:
    """Refuse what cannot be written as a file, before the work whose result it is for."""
    for path in paths:
        if not path:
            continue
        file = Path(path)
        fault = errno.EISDIR if file.is_dir() else 0 if file.parent.is_dir() else errno.ENOENT
        if not fault and not os.access(file if file.exists() else file.parent, os.W_OK):
            fault = errno.EACCES
        if fault:
            raise path_fault("write", path, OSError(fault, os.strerror(fault)), "name another file")
