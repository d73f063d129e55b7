"""What is told of the leaves in a checkpoint, and in which blocks they are written."""

import json

import pytest
from atoll.checkpoint.manifest import LeafEntry, LeafPart, from_json, to_json
from atoll.runtime.leaves import LeafKind

pytestmark = pytest.mark.own


def entry(shape, *bounds, dtype="float32", words=()):
    return LeafEntry(LeafKind(shape, dtype), tuple(LeafPart(one, ("island0",)) for one in bounds), words)


def test_it_is_read_as_it_was_written():
    entries = {
        "tree['w']": entry((4, 2), ((0, 3), (0, 2)), ((3, 4), (0, 2))),
        "tree['k']": entry((), (), dtype="key<fry>", words=(2,)),
        "tree['lr']": LeafEntry(LeafKind((), "float64", is_weak=True), (LeafPart(()),)),
    }
    assert from_json(json.loads(json.dumps(to_json(entries)))) == entries


@pytest.mark.parametrize("found", [None, {}, {"version": 2, "leaves": {}}, {"version": 1, "leaves": {"w": 3}}])
def test_what_something_else_wrote_is_no_manifest(found):
    with pytest.raises((ValueError, KeyError, TypeError, AttributeError)):
        from_json(found)


@pytest.mark.parametrize(
    ("one", "chunk"),
    [
        (entry((8, 512), ((0, 8), (0, 512))), (8, 512)),  # whole
        (entry((8, 512, 64), *(((n, n + 2), (0, 512), (0, 64)) for n in (0, 2, 4, 6))), (2, 512, 64)),
        # unlike parts: in blocks that are in one of them each
        (entry((7, 512, 64), ((0, 4), (0, 512), (0, 64)), ((4, 7), (0, 512), (0, 64))), (1, 512, 64)),
        # which would be single numbers here
        (entry((1001,), ((0, 500),), ((500, 1001),)), (501,)),
        (entry((), (), dtype="key<rbg>", words=(4,)), (4,)),
    ],
)
def test_a_block_lies_in_one_part_unless_it_would_be_tiny(one, chunk):
    assert one.chunk == chunk
