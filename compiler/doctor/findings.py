"""What facts about a machine mean: what would fail there, and what is worth to be known."""

from collections.abc import Iterator
from dataclasses import dataclass

from atoll.compiler import display, logs
from atoll.compiler.doctor.facts import Facts
from atoll.compiler.doctor.requirements import Requirement

# What the tests run with, by the Python.
TESTED = {"3.11": "0.10.2", "3.12": "0.12.0", "3.13": "0.12.0"}

# atoll's variables, beside those that the modules below have as `VARIABLE`, which load more than a doctor should.
KNOWN = frozenset(("ATOLL_CACHE_DIR", "ATOLL_DUMP_DIR", "ATOLL_UP", display.VARIABLE, logs.VARIABLE))


@dataclass(frozen=True)
class Finding:
    """fails: whether something would fail; otherwise it may be as it is meant to be."""

    fails: bool
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.what}; {self.remedy}"


def findings(facts: Facts) -> list[Finding]:
    """What would fail comes first."""
    found = [*_of_packages(facts), *_of_devices(facts), *_of_environment(facts)]
    return sorted(found, key=lambda one: not one.fails)


def _of_packages(facts: Facts) -> Iterator[Finding]:
    if facts.atoll is None:
        yield Finding(True, "atoll was not installed, so its versions are not known", "pip install it")
    for one in facts.requirements:
        if one.version is None and not one.extra:
            yield Finding(True, f"{one.name} is not installed", f"pip install {_wanted(one)}")
        elif one.is_old:
            what = f"{one.name} {one.version} is older than {one.least}"
            yield Finding(True, f"{what}, which {_whose(one)} needs", f"pip install --upgrade {_wanted(one)}")
        elif one.name == "jax" and one.version not in (None, *TESTED.values()):
            python = ".".join(facts.python.split(".")[:2])
            tested = ", ".join(f"jax {jax} with Python {other}" for other, jax in TESTED.items())
            yield Finding(
                False, f"nothing was tried with jax {one.version} and Python {python}", f"tested are {tested}"
            )


def _of_devices(facts: Facts) -> Iterator[Finding]:
    trouble = facts.devices.trouble
    if trouble:
        yield Finding(True, f"jax gives no devices: {trouble.rstrip('.')}", _remedy_for_devices(trouble, facts))
    elif facts.trial.trouble:
        what = f"a program on two islands of one CPU device each fails: {facts.trial.trouble.rstrip('.')}"
        yield Finding(True, what, "see docs/errors.md, or report it with this output")
    elif facts.trial.value is not True:
        yield Finding(True, "a program on islands computes other values than jax.jit", "report it with this output")
    if trouble:
        return
    has_tpu = any(name == "tpu" for name, *_ in facts.devices.value or ())
    has_libtpu = any(one.name == "libtpu" and one.version for one in facts.requirements)
    if has_libtpu and not has_tpu and "JAX_PLATFORMS" not in facts.environment:
        what = "libtpu is installed where there is no TPU, so jax looks for one in every process"
        yield Finding(False, what, "set JAX_PLATFORMS=cpu to save that time")


def _remedy_for_devices(trouble: str, facts: Facts) -> str:
    if "flag" in trouble and "XLA_FLAGS" in facts.environment:
        return f"correct XLA_FLAGS, which is {facts.environment['XLA_FLAGS']}"
    if "has not answered" in trouble and facts.environment.get("JAX_PLATFORMS") == "cpu":  # which takes no plugin
        return "wait until the machine is less busy, or give it longer by --timeout"
    if "JAX_PLATFORMS" in facts.environment:
        return f"correct JAX_PLATFORMS, which is {facts.environment['JAX_PLATFORMS']}, or leave it out"
    return "set JAX_PLATFORMS=cpu, or repair or remove the plugin of jax's that is at fault"


def _of_environment(facts: Facts) -> Iterator[Finding]:
    for name, value in facts.environment.items():
        if name.startswith("ATOLL_") and name not in KNOWN:
            yield Finding(False, f"{name} is set, which atoll does not know", f"it has {', '.join(sorted(KNOWN))}")
        if name == logs.VARIABLE and value.lower() not in ("", *logs.LEVELS):
            yield Finding(False, f"{name} is {value}, which is no level", f"write one of {', '.join(logs.LEVELS)}")
        if name == "ATOLL_DUMP_DIR":
            what = f"every compilation writes its IR after every pass to {value}"
            yield Finding(False, what, "unset ATOLL_DUMP_DIR if that is not meant")
        if name == "JAX_PLATFORMS" and value and "cpu" not in value.split(",") and not facts.devices.trouble:
            what = f"JAX_PLATFORMS is {value}, so there are no CPU devices"
            yield Finding(False, what, f"write {value},cpu for islands of them")
    for name in facts.not_writable:
        what = f"{name} is {facts.environment[name]}, which cannot be written to"
        yield Finding(False, what, "name a folder of yours, or nothing is kept")


def _wanted(one: Requirement) -> str:
    return f"'atoll[{one.extra}]'" if one.extra else f"'{one.name}>={one.least}'"


def _whose(one: Requirement) -> str:
    return f"atoll[{one.extra}]" if one.extra else "atoll"
