"""Keeps notes on the module, so that a dump has them too; reports read them from there.

The bindings cannot read a location out of an attribute, so the user's line stands there as a file and two numbers.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from atoll.compiler.errors import Diagnostic
from atoll.compiler.mlir.attributes import integer
from atoll.compiler.mlir.bindings import ir
from atoll.compiler.mlir.diagnostics import refuse
from atoll.compiler.mlir.functions import named_attributes
from atoll.compiler.mlir.locations import user_frame
from atoll.compiler.module.marks import NOTES
from atoll.compiler.module.notes import Fact, Note, SourcePlace


def add_note(module: ir.Module, location: ir.Location, fact: Fact) -> None:
    """Note a fact about what has this location. A note that is there already is not repeated: all pieces of one array
    would cause the same."""
    frame = user_frame(location)
    note = Note(fact, SourcePlace(frame.filename, frame.start_line, frame.start_col) if frame else None)
    with module.context:
        add_notes(module, [attribute_of_note(note)])


def add_notes(module: ir.Module, notes: Iterable[ir.Attribute]) -> None:
    """The same for notes that are attributes already."""
    found = attributes_of_notes(module)
    for made in notes:
        if made not in found:
            found.append(made)
            module.operation.attributes[NOTES] = ir.ArrayAttr.get(found)


def notes_of(module: ir.Module) -> tuple[Note, ...]:
    """What passes have noted."""
    return notes_in(attributes_of_notes(module), module.operation.location)


def attributes_of_notes(module: ir.Module) -> list[ir.Attribute]:
    """The notes as they stand on the module, not yet read."""
    attributes = module.operation.attributes
    if NOTES not in attributes:
        return []
    found = attributes[NOTES]
    if not isinstance(found, ir.ArrayAttr):
        what = f"{NOTES} is {found}, which is no list of notes"
        raise refuse(module.operation.location, what, "take it out, as notes only tell what passes did")
    return list(found)


def notes_in(attributes: Sequence[ir.Attribute], location: ir.Location) -> tuple[Note, ...]:
    """The notes that these attributes hold; an error for any that is none, as people edit dumps."""
    found = []
    for attribute in attributes:
        try:
            found.append(Note.from_data(_plain(attribute)))
        except (TypeError, ValueError):
            what = f"{NOTES} has {attribute}, which is no note"
            raise refuse(location, what, "take it out, as notes only tell what passes did") from None
    return tuple(found)


def remark(note: Note) -> Diagnostic:
    """The note as MLIR would emit it; the bindings can only emit errors."""
    at = note.place or SourcePlace("", 0, 0)
    return Diagnostic("remark", str(note.fact), at.file, at.line, at.column)


def attribute_of_note(note: Note) -> ir.Attribute:
    """A note as it stands on the module."""
    return _attribute(note.to_data())


def _attribute(value: Any) -> ir.Attribute:  # noqa: ANN401 (what a note has as plain data)
    match value:
        case bool():
            return ir.BoolAttr.get(value)
        case int():
            return integer(value, bits=64)
        case str():
            return ir.StringAttr.get(value)
        case dict():
            return ir.DictAttr.get({name: _attribute(one) for name, one in value.items()})
        case _:
            return ir.ArrayAttr.get([_attribute(one) for one in value])


def _plain(attribute: ir.Attribute) -> Any:  # noqa: ANN401 (what `_attribute` takes)
    match attribute:
        case ir.DictAttr():
            return {name: _plain(one) for name, one in named_attributes(attribute).items()}
        case ir.ArrayAttr():
            return [_plain(one) for one in attribute]
        case ir.StringAttr():
            return attribute.value_bytes.decode(errors="replace")
        case ir.BoolAttr() | ir.IntegerAttr():
            return attribute.value
        case _:
            raise ValueError("nothing that a note has")
