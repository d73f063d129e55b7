"""`atoll status`: says what `atoll up` has started, who uses it, and what is on it."""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict

from atoll.compiler.text.quantities import bytes_text
from atoll.runtime.keeping import record as records
from atoll.runtime.keeping.starting import status
from atoll.runtime.keeping.talk import Process, Status


def run(options: argparse.Namespace) -> int:
    """The command; its status is 1 if no cluster is up."""
    found = status(records.path())
    if options.json:
        json.dump(asdict(found), sys.stdout, indent=2)
        print()
    else:
        print("\n".join(lines(found)))
    return 0


def lines(found: Status) -> Iterator[str]:
    """What the command prints."""
    place = "on a Ray of its own" if found.cluster == "ray" else f"on Ray at {found.cluster!r}"
    yield f"{found.topology}, up since {_time(found.since)} {place}, kept by process {found.pid}"
    if found.guest is None:
        yield "nobody uses it"
    else:
        yield f"used by {found.guest} since {_time(found.guest.since)}"
    if found.trouble:
        yield f"what is missing could not be started: {found.trouble}"
    for one in found.processes:
        yield ""
        yield f"island {one.island}: process {one.pid} on {one.machine} {one.state}"
        yield from (f"  {line}" for line in _contents(one))


def _contents(one: Process) -> Iterator[str]:
    if one.has is None:
        return
    yield f"{bytes_text(one.has.arrays)} in arrays, {bytes_text(one.has.memory)} of memory"
    yield f"{one.has.kept} compiled fragments"
    for program in one.has.programs:
        its = f"{bytes_text(program.arrays)} in its arrays"
        if program.compilations is None:
            yield f"program {program.number}, which was closed: {its}"
        else:
            made = f"{program.compilations} fragments compiled for it, {program.steps} steps"
            yield f"program {program.number}: {made}, {its}"


def _time(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
