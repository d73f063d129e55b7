"""Notes: what passes tell people, kept on the module as data."""

import json

import pytest
from atoll.compiler.errors import CompileError
from atoll.compiler.mlir.bindings import ir
from atoll.compiler.mlir.ir_text import copy_module, parse_text, print_module
from atoll.compiler.module.notes import (
    FACTS_BY_KIND,
    AcrossBatch,
    AloneScope,
    BatchBlocks,
    Gathered,
    Joined,
    JoinedStack,
    LineExtra,
    ManySweeps,
    NeededWhole,
    NotDivisible,
    Note,
    NotFollowed,
    OneMicrobatch,
    OneReplica,
    OwnPieces,
    PlannedDivision,
    SeveralLoops,
    SourcePlace,
    Traffic,
    UnevenStages,
    WholeBatch,
    WholeLoop,
)
from atoll.compiler.module.noting import add_note, notes_of

# One of each kind, with its words.
FACTS = {
    AloneScope(
        "net/norm", 7
    ): "computed for each microbatch alone, as per_microbatch says: 7 operations in scope net/norm",
    OwnPieces(4): "as many microbatches as the loop takes pieces of the batch: 4",
    PlannedDivision(
        8, 1, 2_000_000, 9_000_000
    ): "chosen: 8 microbatches, a predicted step of 2 ms, not one of 9 ms with one microbatch",
    PlannedDivision(
        1, 2, 2_000_000, 0
    ): "chosen: 1 microbatch in each of 2 replicas, a predicted step of 2 ms, not one of "
    "which it is not sure that it fits with one microbatch",
    PlannedDivision(
        2, 2, 2_000_000, 0, 'update=sharded, offload="mu, nu"'
    ): 'chosen: 2 microbatches in each of 2 replicas with update=sharded, offload="mu, nu", a predicted step of 2 ms, '
    "not one of which it is not sure that it fits with one microbatch",
    PlannedDivision(
        1, 1, 2_000_000, 2_000_000
    ): "chosen: one microbatch, a predicted step of 2 ms, as no other number is said to take less",
    OneMicrobatch("the batch of 3 is not to be divided"): "one microbatch, as the batch of 3 is not to be divided",
    BatchBlocks("reshape", 4): "examples are taken in 4 blocks, some of each a microbatch, as reshape divides them",
    WholeBatch("sort", 96): "computed for the whole batch, as no rule makes only a part of it: sort, 96 bytes",
    Joined("sort", 2048): "done once for the whole batch, as it mixes the examples: sort, for which 2.0 KiB are joined",
    AcrossBatch(
        "sum goes over the whole batch"
    ): "all microbatches wait for each other, as sum goes over the whole batch",
    AcrossBatch("sum goes over the whole batch", 12): "all microbatches wait for each other for 12 sums, first as sum "
    "goes over the whole batch",
    SeveralLoops(2, 34, 5, bytes=2048, allowed=50, room=9): "the microbatches go over the stages 2 times: 34% of the "
    "model's work are done again, 5% of the model's work are done for the whole batch at once, 2.0 KiB of the batch "
    "are kept from one time to another",
    LineExtra(24600, 3, 2048, "0 2"): "extra: 24.6 k operations are done again, 3 operations are done for the whole "
    "batch at once, 2.0 KiB of the batch are kept, microbatches wait for each other at the end of L0, L2",
    WholeLoop("", "its length depends on data"): "not cut, and on one stage: the loop, as its length depends on data",
    UnevenStages("50%, 50%, 0%", "a more even cut would send more"): "uneven stages, with 50%, 50%, 0% of the work: a "
    "more even cut would send more",
    JoinedStack("tensor<4xf32>", "rev"): "split by layers, and joined again: tensor<4xf32> for rev",
    OneReplica(): "not shared by replicas: the update, as there is one replica",
    NeededWhole("state['w']", "sort"): "not shared by replicas: state['w'], which sort needs whole",
    NotDivisible("w", "3 x 5", is_in_pieces=True, replicas=2): "not shared by replicas: w, in pieces of 3 x 5, "
    "which has no dimension that 2 replicas share evenly",
    Gathered("tensor<4xf32>", "sort"): "not shared by replicas: tensor<4xf32>, which is gathered for sort",
    Traffic(3072, 1024, replicas=2): "3.0 KiB cross between stages of each replica: at most 2.0 KiB above the least "
    "possible for the operations the plan leaves open",
    NotFollowed("b", "model"): "replicated on b, which cannot divide some value over axis model",
    ManySweeps(4, "sweep by sweep", "2 ms", "as values come", "1 ms", "as it is told to"): "the function goes over the "
    "stages 4 times, which no schedule is for: it runs sweep by sweep, predicted 2 ms, and not as values come, "
    "predicted 1 ms, as it is told to",
}
EMPTY = "module { func.func @main() { return } }"


def test_every_kind_has_its_words():
    assert {type(fact) for fact in FACTS} == set(FACTS_BY_KIND.values())
    assert {str(fact) for fact in FACTS} == set(FACTS.values())


def through_text(module):
    return parse_text(print_module(module))


@pytest.mark.parametrize("read", [copy_module, through_text])
def test_notes_outlive_dumps(read):
    module = parse_text(EMPTY)
    with module.context:
        line, argument = ir.Location.file("a b: c.py", 12, 5), ir.Location.name("state['w']")
        for fact in FACTS:
            add_note(module, ir.Location.name("jit(f)/layer", line), fact)
            add_note(module, argument, fact)
    place = SourcePlace("a b: c.py", 12, 5)
    assert notes_of(read(module)) == tuple(Note(fact, at) for fact in FACTS for at in (place, None))


def test_plain_data():
    for fact in FACTS:
        note = Note(fact, SourcePlace("train.py", 12, 5))
        data = json.loads(json.dumps(note.to_data()))
        assert Note.from_data(data) == note
        assert list(data)[:2] == ["kind", "at"]


def test_words_with_the_line():
    fact = NeededWhole("w", "sort")
    assert str(Note(fact, SourcePlace("train.py", 12, 5))) == f"{fact}, at train.py:12"
    assert str(Note(fact, SourcePlace("train.mlir", 0, 0))) == f"{fact}, at train.mlir"
    assert str(Note(fact)) == str(fact)


@pytest.mark.parametrize(
    "written",
    [
        '"joined"',
        "{}",
        '{kind = "joined"}',
        "{kind = [0]}",
        '{kind = "one-replica", path = "w"}',
        '{kind = "needed-whole", path = "w"}',
        '{kind = "needed-whole", path = "w", user = 3}',
        '{kind = "needed-whole", path = "w", user = f32}',
        '{at = "train.py:12", kind = "one-replica"}',
        '{at = ["train.py", 12], kind = "one-replica"}',
        '{at = ["train.py", true, 3], kind = "one-replica"}',
        '{at = 12, kind = "one-replica"}',
        '{at_least = true, bytes = 4, kind = "traffic", replicas = 1}',
    ],
)
def test_what_is_no_note(written):
    module = parse_text(f"module attributes {{atoll.notes = [{written}]}} {{}}")
    with pytest.raises(CompileError, match=r"atoll\.notes has .*, which is no note; take it out, as notes only tell"):
        notes_of(module)


def test_what_is_no_list_of_notes():
    module = parse_text("module attributes {atoll.notes = 3} {}")
    with pytest.raises(CompileError, match=r"atoll\.notes is 3 : i64, which is no list of notes; take it out"):
        notes_of(module)
