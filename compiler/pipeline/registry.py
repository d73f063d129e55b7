"""Finds passes by name: ours in `atoll.passes`, native ones in `native_passes`, phases in `pipeline`."""

import functools
import importlib
from collections.abc import Iterator, Sequence

from atoll.compiler.errors import AtollError
from atoll.compiler.mlir.bindings import PassManager, native_stderr, new_context
from atoll.compiler.pipeline.native_passes import NATIVE_PASSES, REFUSED_PASSES
from atoll.compiler.pipeline.pass_base import NativePass, Pass, Step
from atoll.compiler.pipeline.pass_options import pass_text, read_options
from atoll.compiler.pipeline.pipeline import PHASES, Phase
from atoll.compiler.pipeline.pipeline_text import Nested, PassText, PipelineText
from atoll.compiler.text.language import known_names, shown
from atoll.passes import PASSES


def pass_class(name: str) -> type[Pass]:
    """Load a pass of ours."""
    module, _, class_name = PASSES[name].partition(":")
    loaded: type[Pass] = getattr(importlib.import_module(module), class_name)
    return loaded


def steps_of_text(text: str) -> list[Step]:
    """The steps that a pass pipeline names; whatever cannot be run is an error that points into the text."""
    return [step for element in PipelineText.parse(text).elements for step in _steps(element)]


def text_of_steps(steps: Sequence[Step]) -> str:
    """A text that names these steps."""
    return ", ".join(step.text if isinstance(step, NativePass) else str(pass_text(step, step.name())) for step in steps)


@functools.cache
def steps_of_phase(phase: Phase) -> tuple[Step, ...]:
    """The steps of a phase, which are always the same: made once, as MLIR has to judge those that are native."""
    return tuple(step for name in phase.passes for step in _steps(PassText(name)))


def _steps(element: PassText | Nested) -> Iterator[Step]:
    if isinstance(element, Nested):
        for inner in element.passes:
            yield _native(inner, element.operation)
        return
    phase = next((phase for phase in PHASES if phase.made_by == element.name), None)
    if phase is not None:
        if element.options:
            raise element.options[0].fault(f"{element.name} is a phase and takes no options", "give them to its passes")
        yield from steps_of_phase(phase)
    elif element.name in PASSES:
        yield read_options(pass_class(element.name), element)
    else:
        yield _native(element)


def _native(element: PassText, operation: str | None = None) -> NativePass:
    """A native pass in MLIR's text. Without `operation` it runs on what it is made for."""
    if element.name in REFUSED_PASSES:
        raise element.fault(f"{element.name} is refused", REFUSED_PASSES[element.name])
    if element.name in PASSES:
        raise element.fault(f"{element.name} runs on a module, not on {operation}", "write it outside of parentheses")
    if element.name not in NATIVE_PASSES:
        raise _unknown(element)
    context = new_context()
    if operation is not None and not context.is_registered_operation(operation):
        raise element.fault(
            f"{element.name} cannot run on {operation}, as there is no such operation", "write func.func"
        )
    nested = operation or NATIVE_PASSES[element.name].anchor
    options = " ".join(f"{option.name}={option.value_text}" for option in element.options)
    text = f"{element.name}{{{options}}}" if options else element.name
    text = text if nested == "builtin.module" else f"{nested}({text})"
    with native_stderr() as told:
        try:
            PassManager.parse(f"builtin.module({text})", context=context)
        except ValueError as error:
            reason = _reason(told() + str(error))
            raise element.fault(f"{element.name}: {reason}", "see `atoll opt --list-passes`") from None
    return NativePass(element.name, text)


def _reason(complaint: str) -> str:
    """The first line of MLIR's complaint, without the name of its parser or of the program, which may be `xla`."""
    lines = [line for line in complaint.splitlines() if line.strip()] or ["MLIR does not accept it"]
    _, option, rest = lines[0].partition("for the --")
    return option + rest if option else lines[0].rpartition("error: ")[2].removeprefix("<Pass-Options-Parser>: ")


def _unknown(element: PassText) -> AtollError:
    names = sorted([*(phase.made_by for phase in PHASES), *PASSES, *NATIVE_PASSES])
    nearest = known_names(element.name, names).partition("?")
    hint = f"{nearest[0]}?" if nearest[1] else "see `atoll opt --list-passes`"
    return element.fault(f"there is no pass {shown(element.name)}", hint)
