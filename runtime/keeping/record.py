"""The record of the cluster that is up: a file by which commands and programs of the same user find its keeper.

It holds a secret, so it is its user's alone; and what somebody else has put there is not believed.
"""

import hashlib
import importlib.metadata
import json
import os
import platform
import socket
import stat
import tempfile
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from atoll.compiler.errors import TopologyError, UsageError
from atoll.runtime.processes.assignment import Address
from atoll.runtime.processes.wire import Wire, connect

# Names another file, so that several clusters may be up.
VARIABLE = "ATOLL_UP"

_REMEDY = 'start one with `atoll up --topology "..."`'


@dataclass(frozen=True)
class UpRecord:
    """address, secret: of the keeper's door. pid, machine: the keeper's own. since: in seconds since 1970.

    versions: of what has to be the same on both sides.
    """

    address: Address
    secret: str
    pid: int
    machine: str
    since: float
    topology: str
    versions: dict[str, str]


def path() -> Path:
    """Where the record is."""
    if named := os.environ.get(VARIABLE):
        return Path(named)
    return Path(tempfile.gettempdir(), f"atoll-{os.getuid()}", "up")


@cache
def versions() -> dict[str, str]:
    """Of this process."""
    found = {name: importlib.metadata.version(name) for name in ("atoll", "jax", "jaxlib")}
    return {"Python": platform.python_version()} | found | {"the code of atoll's runtime": _digest()}


def _digest() -> str:
    """Of the runtime's code: two of one version may still understand different things by one message."""
    folder, content = Path(__file__).resolve().parent.parent, hashlib.sha256()
    for file in sorted(folder.rglob("*.py")):
        content.update(file.read_bytes())
    return content.hexdigest()[:12]


def write(where: Path, record: UpRecord) -> None:
    """Only if there is none; UsageError if there is, or it cannot be written."""
    try:
        where.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = os.open(where, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise UsageError("a cluster is up already", remedy="end it with `atoll down`") from None
    except OSError as error:
        raise UsageError(f"cannot write: {error.strerror}", str(where), f"name another file by {VARIABLE}") from None
    with os.fdopen(file, "w") as opened:
        json.dump(asdict(record), opened)


def read(where: Path) -> UpRecord | None:
    """None if there is none; UsageError if it is not to be believed."""
    try:
        file = os.open(where, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UsageError(f"cannot read: {error.strerror}", str(where), f"name another file by {VARIABLE}") from None
    with os.fdopen(file) as opened:
        _check_own(os.fstat(file), where)
        try:
            told = json.load(opened)
            return UpRecord(**told | {"address": tuple(told["address"])})
        except (ValueError, TypeError, KeyError):
            raise UsageError("this is no record of a cluster", str(where), "remove it") from None


def remove(where: Path, record: UpRecord) -> None:
    """If it is still this one."""
    with suppress(UsageError, OSError):
        if read(where) == record:
            where.unlink()


def reached(where: Path) -> tuple[UpRecord, Wire]:
    """The cluster that is up, and a wire to its keeper; UsageError if there is none. What is old is swept, and told."""
    record = read(where)
    if record is None:
        raise UsageError("no cluster is up here", remedy=_REMEDY)
    who = f"the cluster that was up, {record.topology}, kept by process {record.pid} on {record.machine},"
    if record.machine != socket.gethostname():
        raise UsageError(f"{who} is another machine's", str(where), f"name another file by {VARIABLE}")
    try:
        return record, connect(record.address, bytes.fromhex(record.secret))
    except TimeoutError:
        what = f"process {record.pid}, which keeps the cluster that is up, does not answer"
        raise TopologyError(what, remedy=f"end it with `kill -9 {record.pid}`") from None
    except OSError:
        remove(where, record)
        raise UsageError(f"{who} has ended without `atoll down`", remedy=_REMEDY) from None


def sweep(where: Path) -> str:
    """Remove the record of a cluster that has ended, and say so; UsageError if one is up."""
    try:
        record = read(where)
        if record is None:
            return ""
        reached(where)[1].close()
    except UsageError as error:
        if where.exists():
            raise
        return error.what
    remedy = "end it with `atoll down`"
    raise UsageError(f"a cluster is up already, {record.topology}, kept by process {record.pid}", remedy=remedy)


def _check_own(found: os.stat_result, where: Path) -> None:
    if found.st_uid != os.getuid() or found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        what = "others than you may read or write this record of a cluster, so it cannot be believed"
        raise UsageError(what, str(where), f"name another file by {VARIABLE}")
