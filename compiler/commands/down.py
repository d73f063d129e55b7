"""`atoll down`: ends what `atoll up` has started."""

import argparse

from atoll.runtime.keeping import record as records
from atoll.runtime.keeping.starting import end


def run(options: argparse.Namespace) -> int:
    """The command; its status is 1 if no cluster is up, or a program uses it."""
    count = end(records.path(), force=options.force)
    print(f"{count} processes have ended")
    return 0
