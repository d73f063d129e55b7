"""Finds StableHLO in the files of programs that keep it for long: portable artifacts, and what `jax.export` writes.

A portable artifact is MLIR bytecode of a versioned dialect; its first bytes say so. `Exported.serialize()` is a
flatbuffer with such an artifact in it. It is read here without jax: jax would first rebuild the function's pytrees, and
for that it needs every class in them, registered by the user's own code.
"""

import struct

_BYTECODE = b"ML\xefR"
# Its producer, which comes soon after a version and tells a portable artifact from other bytecode.
_PRODUCER = b"StableHLO_v"
_HEAD = 32
# What HLO's own text begins with.
_HLO = b"HloModule"

# The module among the fields of jax's table `Exported`. A flatbuffer's fields keep their numbers for ever.
_MODULE_FIELD = 13


def is_portable(content: bytes) -> bool:
    """Whether these are the bytes of a portable artifact."""
    return content.startswith(_BYTECODE) and _PRODUCER in content[:_HEAD]


def exported_module(content: bytes) -> bytes | None:
    """The portable artifact in a file of `jax.export`; None if the bytes are no such file."""
    try:
        table = _number("I", content, 0)
        fields = table - _number("i", content, table)
        field = _number("H", content, fields + 4 + 2 * _MODULE_FIELD)
        vector = table + field
        vector += _number("I", content, vector)
        size = _number("I", content, vector)
    except struct.error:  # these offsets lead out of the file
        return None
    module = content[vector + 4 : vector + 4 + size]
    return module if is_portable(module) else None


def remedy_for(content: bytes, complaint: str) -> str:
    """What to do about bytes that MLIR cannot read, and complains about so."""
    if content.lstrip().startswith(_HLO):
        return "this is HLO; give StableHLO, as jax.jit(f).lower(...).as_text() writes it"
    if complaint.startswith("Dialect `"):
        return "give StableHLO, as jax.jit(f).lower(...).as_text() writes it"
    if is_portable(content) or exported_module(content) is not None:
        return "write the file again, whole and for no newer StableHLO than this jaxlib has"
    try:
        content.decode()
    except UnicodeDecodeError:
        return "give MLIR, as text or bytecode, or a file of jax.export"
    return "correct the IR there"


def _number(kind: str, content: bytes, offset: int) -> int:
    found: int = struct.unpack_from(f"<{kind}", content, offset)[0]
    return found
