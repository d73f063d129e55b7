"""Every native pass that a pipeline may name runs on a corpus of modules, and those that are refused say why."""

import functools
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from atoll.compiler.errors import UsageError
from atoll.compiler.pipeline.native_passes import NATIVE_PASSES, REFUSED_PASSES
from atoll.compiler.pipeline.registry import steps_of_text

SCRIPT = Path(__file__).with_name("run_native_passes.py")

# On which modules of the corpus a pass fails: of dialects that it does not know, or that are done already.
FAILS = {
    "sdy-add-data-flow-edges": {"unfinished shardings"},
    "sdy-propagation-pipeline": {"calls", "unfinished shardings"},
    "stablehlo-legalize-to-vhlo": {
        "shardings",
        "chlo",
        "placed",
        "unfinished shardings",
        "reshards",
        "a manual computation",
        "microbatches",
    },
    "stablehlo-refine-shapes": {"versioned", "empty"},
}


@functools.cache
def outcomes() -> dict[str, dict[str, str]]:
    """Pass -> module -> `changed`, `unchanged`, `aborted` or the error; all in one run of the script."""
    with tempfile.TemporaryDirectory() as temporary:  # passes that fail leave reproducers there
        done = subprocess.run(
            [sys.executable, SCRIPT],
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
            env=os.environ | {"TMPDIR": temporary},
        )
    assert done.returncode == 0, done.stderr
    lines = map(json.loads, done.stdout.splitlines())
    return {line["pass"]: line["outcomes"] for line in lines}


@pytest.mark.parametrize("name", NATIVE_PASSES)
def test_a_native_pass_ends_no_process(name):
    aborted = [module for module, outcome in outcomes()[name].items() if outcome == "aborted"]
    assert aborted == [], f"{name} ends the process: move it to REFUSED_PASSES"


@pytest.mark.parametrize("name", NATIVE_PASSES)
def test_a_native_pass_is_of_use(name):
    assert "changed" in outcomes()[name].values(), f"{name} does nothing: give the corpus a module for it, or drop it"


@pytest.mark.parametrize("name", NATIVE_PASSES)
def test_a_native_pass_fails_only_where_it_is_known_to(name):
    failed = {module for module, outcome in outcomes()[name].items() if outcome not in ("changed", "unchanged")}
    without_main = {"versioned", "empty"} if NATIVE_PASSES[name].needs_main else set()
    assert failed == FAILS.get(name, set()) | without_main


@pytest.mark.parametrize("name", NATIVE_PASSES)
def test_a_native_pass_that_fails_says_where(name):
    for module, outcome in outcomes()[name].items():
        if outcome not in ("changed", "unchanged", "aborted"):
            assert f"pass {name}: " in outcome, module
            assert len(outcome.partition("; to see the IR")[0]) < 400, module


@pytest.mark.parametrize(("name", "reason"), REFUSED_PASSES.items())
def test_a_refused_pass_is_an_error_that_says_why(name, reason):
    with pytest.raises(UsageError) as caught:
        steps_of_text(f"cse, {name}")
    assert caught.value.message == (
        f"pass pipeline, line 1, column 6: {name} is refused; {reason}\n  cse, {name}\n       ^"
    )


def test_no_pass_is_both_offered_and_refused():
    assert NATIVE_PASSES.keys() & REFUSED_PASSES.keys() == set()


@pytest.mark.parametrize("name", NATIVE_PASSES)
def test_a_native_pass_has_a_summary(name):
    summary = NATIVE_PASSES[name].summary
    assert summary
    assert not summary.endswith(".")


def test_the_options_of_a_native_pass_reach_it():
    (step,) = steps_of_text("canonicalize{max-iterations=3}")
    assert step.text == "canonicalize{max-iterations=3}"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("canonicalize{max-iterations=soon}", "'soon' value invalid for long argument"),
        ("canonicalize{speed=3}", "canonicalize: no such option speed"),
        ("cse{x=1}", "cse: "),
        ("tosa.none(cse)", "cse cannot run on tosa.none, as there is no such operation; write func.func"),
        ("func.func(inline-calls)", "inline-calls runs on a module, not on func.func"),
        ("func.func(nothing)", "there is no pass 'nothing'"),
        ("symbol-dec", "there is no pass 'symbol-dec'; did you mean 'symbol-dce'?"),
    ],
)
def test_what_mlir_does_not_accept_is_told_with_its_place(text, complaint, capfd):
    with pytest.raises(UsageError) as caught:
        steps_of_text(text)
    assert complaint in str(caught.value)
    assert str(caught.value).startswith("pass pipeline, line 1, column ")
    assert capfd.readouterr().err == ""
