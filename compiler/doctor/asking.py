"""Asks Python programs of their own: one that hangs, or that a native library ends, is an answer as well."""

import json
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any

# What prints, in a line of JSON, how many devices of which kinds jax has.
DEVICES = """
import collections, json, jax
found = collections.Counter((one.platform, one.device_kind) for one in jax.devices())
print(json.dumps([[platform, kind, count] for (platform, kind), count in sorted(found.items())]))
"""

# What prints whether a small program on two islands gives what `jax.jit` gives.
TRIAL = """
import json
import atoll, jax, jax.numpy as jnp, numpy
def step(weights, x):
    for number, weight in enumerate(weights):
        with jax.named_scope(f"layer_{number}"):
            x = jnp.tanh(x @ weight)
    return x.sum()
weights, x = numpy.eye(8, dtype="float32"), numpy.ones((4, 8), "float32")
arguments = [weights / 2, weights / 3], x
with atoll.compile(step, *arguments, topology="2 x cpu[1]", plan=atoll.Plan(stages="layer_0 | layer_1")) as compiled:
    print(json.dumps(bool(jnp.allclose(compiled(*arguments).to_jax(), jax.jit(step)(*arguments)))))
"""


# What XLA's log puts before a message: the time, and its own file.
_STAMP = re.compile(r"^[EFIW]\d{4} [^\]]*\] ")


@dataclass(frozen=True)
class Answer:
    """What a program printed; or, if it did not, why. seconds: that it took."""

    value: Any
    trouble: str
    seconds: float


def ask(program: str, patience: float) -> Answer:
    """Run a program and read the last line that it prints."""
    began = time.monotonic()
    try:
        # Not from where the user stands: Python would import what lies there before what is installed.
        done = subprocess.run(
            [sys.executable, "-P", "-c", program], capture_output=True, text=True, timeout=patience, check=False
        )
    except subprocess.TimeoutExpired:
        return Answer(None, f"it has not answered within {patience:g} s", time.monotonic() - began)
    return answer(done.returncode, done.stdout, done.stderr, time.monotonic() - began)


def answer(status: int, out: str, err: str, seconds: float) -> Answer:
    """What the end of a program says."""
    if status == 0:
        try:
            return Answer(json.loads(out.splitlines()[-1]), "", seconds)
        except (IndexError, ValueError):
            return Answer(None, "it printed something else than it should", seconds)
    said = last_line(err)
    if status < 0:
        name = signal.Signals(-status).name if -status in set(signal.Signals) else f"signal {-status}"
        said = f"a native library ended it ({name})" + (f": {said}" if said else "")
    return Answer(None, said or f"it ended with {status}", seconds)


def last_line(text: str) -> str:
    """The sentence of an error: the last line that is not indented, as lines below an error are."""
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    return _STAMP.sub("", next((line for line in reversed(lines) if not line[0].isspace()), ""))
