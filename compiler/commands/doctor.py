"""`atoll doctor`: says what is installed and set on this machine, what would fail, and what to do."""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import groupby

from atoll.compiler import display
from atoll.compiler.doctor.asking import Answer
from atoll.compiler.doctor.facts import Facts, gather
from atoll.compiler.doctor.findings import Finding, findings
from atoll.compiler.doctor.requirements import Requirement
from atoll.compiler.errors import UsageError
from atoll.compiler.text.quantities import bytes_text

_LABEL = len("atoll[checkpoint]") + 1  # the longest of the words that lines begin with, and a blank


def run(options: argparse.Namespace) -> int:
    """The command; its status is 1 if something would fail."""
    if not options.timeout > 0:
        raise UsageError(f"--timeout is {options.timeout:g}", remedy="give seconds above 0")
    with display.shown():
        facts = gather(options.timeout)
    found = findings(facts)
    if options.json:
        json.dump(facts.to_json() | {"findings": [asdict(one) for one in found]}, sys.stdout, indent=2)
        print()
    else:
        print("\n".join(lines(facts, found)))
    return int(any(one.fails for one in found))


def lines(facts: Facts, found: Sequence[Finding]) -> Iterator[str]:
    """What the command prints."""
    yield f"atoll {facts.atoll or 'is not installed'}"
    yield f"Python {facts.python} on {facts.system}, {facts.cores} cores, {bytes_text(facts.memory)}"
    yield ""
    for extra, group in groupby(facts.requirements, key=lambda one: one.extra):
        yield f"{f'atoll[{extra}]' if extra else 'needed':<{_LABEL}}{', '.join(map(_told, group))}"
    yield f"{'devices':<{_LABEL}}{_devices(facts.devices)}"
    yield f"{'trial':<{_LABEL}}{_trial(facts.trial)}"
    for number, (name, value) in enumerate(facts.environment.items()):
        yield f"{'' if number else 'environment':<{_LABEL}}{name}={value}"
    yield ""
    for title, some in (("would fail:", True), ("worth knowing:", False)):
        told = [f"  {one}" for one in found if one.fails is some]
        yield from [title, *told] if told else []
    if not any(one.fails for one in found):
        yield "nothing would fail"


def _told(one: Requirement) -> str:
    return f"{one.name} {one.version}" if one.version else f"no {one.name}"


def _devices(answer: Answer) -> str:
    if answer.trouble:
        return "none"
    return ", ".join(f"{count} x {platform} ({kind})" for platform, kind, count in answer.value)


def _trial(answer: Answer) -> str:
    if answer.trouble:
        return "failed"
    said = "computes what jax.jit computes" if answer.value is True else "computes something else than jax.jit"
    return f"a function on two islands {said}"
