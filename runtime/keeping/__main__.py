"""The keeper's process, which `atoll up` starts: `python -m atoll.runtime.keeping`."""

import os
import pickle
import signal
import sys
import threading

from atoll.compiler.errors import AtollError, TopologyError
from atoll.runtime.failure import Failure
from atoll.runtime.keeping.keeper import Keeper, Keeping
from atoll.runtime.processes.on_ray import OnRay


def main() -> None:
    """Read what is asked for, say whether it is there, and keep it."""
    # Answers go where standard output was; what libraries have to say goes nowhere.
    answers = os.fdopen(os.dup(1), "wb")
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    asked: Keeping = pickle.load(sys.stdin.buffer)
    is_up = threading.Event()

    def follow() -> None:
        sys.stdin.buffer.read()  # until whoever asks is gone
        if not is_up.is_set():
            os._exit(1)  # and with it all that it has started

    threading.Thread(target=follow, daemon=True).start()
    try:
        keeper = Keeper(asked, OnRay(asked.cluster))
        told: object = keeper.start()
    except Exception as error:
        known = error if isinstance(error, AtollError) else TopologyError(f"{type(error).__name__}: {error}")
        told = Failure.of(known)
    is_up.set()
    pickle.dump(told, answers)
    answers.close()
    if not isinstance(told, Failure):
        signal.signal(signal.SIGTERM, lambda *_: keeper.stop())
        keeper.run()


if __name__ == "__main__":
    main()
