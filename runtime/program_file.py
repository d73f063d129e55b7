"""The file of a program.

It is `MAGIC`, the version, a SHA-256 of what follows, and then, each after its length, a JSON description of everything
but these, the bytes of each fragment, and those of each executable that XLA has made of one.
"""

import hashlib
import json
import os
import struct
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from atoll.compiler.errors import PATH_FAULTS, UsageError, path_fault
from atoll.runtime.check import check
from atoll.runtime.program import (
    Buffer,
    Code,
    Count,
    Free,
    Input,
    IslandProgram,
    Output,
    Prebuilt,
    Program,
    Receive,
    Run,
    Send,
)

MAGIC = b"ATOLLPROGRAM"
VERSION = 10

_HEAD = struct.Struct(f">{len(MAGIC)}sI32s")  # magic, version, checksum
_LENGTH = struct.Struct(">Q")


def save_program(program: Program, path: str | os.PathLike[str]) -> None:
    """Write the program as one file. A file that stood there is replaced at once, never half."""
    content = to_bytes(program)
    try:
        target = Path(path)
        draft = target.with_name(f"{target.name}.{os.getpid()}.draft")
        try:
            draft.write_bytes(content)
            draft.replace(target)
        finally:
            draft.unlink(missing_ok=True)
    except PATH_FAULTS as error:
        raise path_fault("write", path, error, "name another file") from None


def load_program(path: str | os.PathLike[str]) -> Program:
    """Read a program that `save_program` wrote; UsageError if the file is anything else."""
    try:
        content = Path(path).read_bytes()
    except PATH_FAULTS as error:
        raise path_fault("read", path, error, "name a saved program") from None
    program = from_bytes(content, str(path))
    try:
        check(program)
    except ValueError as fault:
        raise UsageError(f"{path} cannot run: {fault}", remedy="compile the program again") from None
    return program


def to_bytes(program: Program) -> bytes:
    """The content of the program's file."""
    bare = replace(
        program,
        codes=tuple(replace(code, module=b"") for code in program.codes),
        prebuilt=tuple(replace(one, content=b"") for one in program.prebuilt),
    )
    contents = (*(code.module for code in program.codes), *(one.content for one in program.prebuilt))
    parts = [json.dumps(_plain(bare), separators=(",", ":")).encode(), *contents]
    body = b"".join(_LENGTH.pack(len(part)) + part for part in parts)
    return _HEAD.pack(MAGIC, VERSION, hashlib.sha256(body).digest()) + body


def from_bytes(content: bytes, name: str = "this") -> Program:
    """What `to_bytes` wrote; UsageError if it is anything else. `name` is what messages call it."""
    if not content.startswith(MAGIC):
        raise UsageError(f"{name} is no saved atoll program", remedy="name a file that save() wrote")
    again = "save it again"
    if len(content) < _HEAD.size:
        raise UsageError(f"{name} is cut off", remedy=again)
    _, version, checksum = _HEAD.unpack_from(content)
    if version != VERSION:
        what = f"{name} has version {version} of the program file, this atoll reads version {VERSION}"
        raise UsageError(what, remedy="compile the program again, or use the atoll that saved it")
    body = memoryview(content)[_HEAD.size :]
    if hashlib.sha256(body).digest() != checksum:
        raise UsageError(f"{name} is damaged: its checksum does not match", remedy=again)
    try:
        text, *contents = _parts(body)
        bare: Program = _restored(json.loads(text))
        codes = zip(bare.codes, contents[: len(bare.codes)], strict=True)
        prebuilt = zip(bare.prebuilt, contents[len(bare.codes) :], strict=True)
        return replace(
            bare,
            codes=tuple(replace(code, module=module) for code, module in codes),
            prebuilt=tuple(replace(one, content=content) for one, content in prebuilt),
        )
    except (ValueError, TypeError, KeyError, AttributeError, struct.error):
        raise UsageError(f"{name} holds no program, though its checksum matches", remedy=again) from None


_CLASSES = {
    one.__name__: one
    for one in (Buffer, Code, Run, Count, Send, Receive, Free, IslandProgram, Input, Output, Prebuilt, Program)
}


def _parts(body: memoryview) -> Iterator[bytes]:
    while body:
        (length,) = _LENGTH.unpack_from(body)
        part, body = body[_LENGTH.size : _LENGTH.size + length], body[_LENGTH.size + length :]
        yield bytes(part)


def _plain(value: Any) -> Any:  # noqa: ANN401 (any field of the classes above)
    """What JSON can say: an object of a class above becomes a list with the class's name first."""
    if type(value).__name__ in _CLASSES:
        return [type(value).__name__, *(_plain(getattr(value, field.name)) for field in fields(value))]
    if isinstance(value, tuple):
        return ["", *map(_plain, value)]
    return "" if isinstance(value, bytes) else value


def _restored(value: Any) -> Any:  # noqa: ANN401 (as for `_plain`)
    if not isinstance(value, list):
        return value
    name, *parts = value
    restored = map(_restored, parts)
    return _CLASSES[name](*restored) if name else tuple(restored)
