"""The table of marks: it says what the source does, what real modules hold, and what `docs/marks.md` shows."""

import ast
import functools
import re
from collections import defaultdict
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from atoll.compiler.errors import CompileError
from atoll.compiler.export.alone.job import as_planned
from atoll.compiler.export.frontend import export
from atoll.compiler.export.job import Job
from atoll.compiler.mlir.ir_text import parse_text
from atoll.compiler.module import mark, marks
from atoll.compiler.module.mark_table import MARKS, rows_of_marks
from atoll.compiler.module.marking import check_marks, standing_marks
from atoll.compiler.pipeline.pass_manager import run_passes
from atoll.compiler.pipeline.pipeline import PHASES
from atoll.compiler.pipeline.registry import steps_of_phase
from atoll.compiler.pipeline.resume import write_texts
from atoll.compiler.plan.plan import Plan
from atoll.compiler.plan.resolved_plan import resolved
from atoll.compiler.topology.topology import topology
from atoll.passes import PASSES

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("atoll", "benchmarks", "checkpoint", "compiler", "examples", "passes", "runtime")
# Those that have the names of all marks, and say what they are.
TABLES = (ROOT / "compiler/module/marks.py", ROOT / "compiler/module/mark_table.py")
NAMES = {value: name for name, value in vars(marks).items() if name.isupper() and isinstance(value, str)}
PHASE_NAMES = [phase.name for phase in PHASES]
IN_THE_PIPELINE = tuple(mark for mark in MARKS if mark.since)

# What gives a mark to an operation, called with its name.
WRITING = ("write_marks",)


def sources():
    return sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py") if path not in TABLES)


def user_name(path):
    """How the table calls a file: a pass by its name, any other by its path within the compiler or the passes."""
    name = path.stem.replace("_", "-")
    if name in PASSES:
        return name
    return path.relative_to(ROOT).with_suffix("").as_posix().removeprefix("compiler/").removeprefix("passes/")


@functools.cache
def uses():
    """For each mark the files that write it, and those that use it in another way."""
    writers, readers = defaultdict(set), defaultdict(set)
    for path in sources():
        if path.is_relative_to(ROOT / "benchmarks"):
            continue
        text = path.read_text(encoding="utf-8")
        if marks.__name__ not in text:  # most files name no mark, and to go through all takes seconds
            continue
        nodes = list(ast.walk(ast.parse(text)))
        written = set()
        for node in nodes:
            if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store):
                written.add(node.slice)
            elif isinstance(node, ast.Dict):
                written.update(node.keys)
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in WRITING:
                written.update(node.args)
        imported = {
            one.asname or one.name
            for node in nodes
            if isinstance(node, ast.ImportFrom) and node.module == marks.__name__
            for one in node.names
        }
        for node in nodes:
            if isinstance(node, ast.Name) and node.id in imported and hasattr(marks, node.id):
                found = writers if node in written else readers
                found[getattr(marks, node.id)].add(user_name(path))
    return writers, readers


def test_every_mark_has_a_row():
    assert [mark.name for mark in MARKS] == list(NAMES)


@pytest.mark.parametrize("mark", MARKS, ids=lambda mark: mark.name)
def test_a_row_says_who_writes_and_who_reads(mark):
    writers, readers = uses()
    assert sorted(mark.writers) == sorted(writers[mark.name])
    assert sorted(mark.readers) == sorted(readers[mark.name])
    assert mark.writers, "nothing writes it"
    assert mark.readers, "nothing reads it"


def test_the_table_goes_through_the_phases_in_order():
    assert list(mark.PHASE_NAMES) == PHASE_NAMES
    since = [PHASE_NAMES.index(mark.since) for mark in IN_THE_PIPELINE]
    assert since == sorted(since)
    assert all(PHASE_NAMES.index(mark.gone) >= PHASE_NAMES.index(mark.since) for mark in IN_THE_PIPELINE if mark.gone)
    assert MARKS[: len(IN_THE_PIPELINE)] == IN_THE_PIPELINE


def test_no_other_file_spells_out_a_mark():
    for path in sources():
        text = path.read_text(encoding="utf-8")
        if not any(name in text for name in NAMES):
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in NAMES:
                raise AssertionError(f"{path}:{node.lineno}: import {NAMES[node.value]} of module/marks")


def test_goldens_and_docstrings_know_no_other_marks():
    """Whatever a golden or a docstring writes as `atoll.x = ...` or `{atoll.x}` is a mark."""
    written = re.compile(r"(?<![\w.])atoll\.[a-z_]+(?= = (?!atoll|\()|[,}])")
    files = [*(ROOT / "ir_tests").rglob("*.mlir"), *(ROOT / "ir_tests").rglob("*.expected"), *sources()]
    found = {name: path for path in files for name in written.findall(path.read_text(encoding="utf-8"))}
    found = {name: path for name, path in found.items() if name not in NAMES}
    assert set(found) == {"atoll.stagse"}, found  # the golden of the refusal has it


# Real modules.


def layer(x, w):
    return jnp.tanh(x @ w), None


def step(params, x):
    """Layers in a loop, a choice over all parameters, an update, a draw that is for the whole batch, a loss on the
    host, and two batches that are returned as one."""

    def loss(params):
        key = jax.random.key(0, impl="rbg")
        kept = jax.lax.rng_bit_generator(jax.random.key_data(key), x.shape)[1] > 2**30
        with jax.named_scope("body"):
            last, _ = jax.lax.scan(layer, jnp.where(kept, x, 0), params["layers"])
        with jax.named_scope("end"):
            return jnp.mean((last @ params["head"]) ** 2)

    value, gradient = jax.value_and_grad(loss)(params)
    momentum = jax.tree.map(lambda m, g: 0.9 * m + g, params["momentum"], gradient["momentum"] | weights(gradient))
    new = jax.lax.cond(
        jnp.isfinite(value),
        lambda: jax.tree.map(lambda p, m: p - 0.1 * m, weights(params), momentum),
        lambda: weights(params),
    )
    value = jax.device_put(value, jax.memory.Space.Host)
    return new | {"momentum": momentum}, value, jnp.exp(jnp.concatenate([x, -x]))


def weights(params):
    return {"layers": params["layers"], "head": params["head"]}


def shapes():
    layers, head = jax.ShapeDtypeStruct((4, 8, 8), "float32"), jax.ShapeDtypeStruct((8, 4), "float32")
    params = {"layers": layers, "head": head, "momentum": {"layers": layers, "head": head}}
    return params, jax.ShapeDtypeStruct((16, 8), "float32")


PROGRAMS = {
    "a pipeline": ("2 x cpu[1]", Plan(stages=2, microbatches=4, schedule="zb-h1")),
    "replicas": ("4 x cpu[1]", Plan(stages=2, microbatches=4, replicas=2, update="sharded")),
    "segments": (
        "4 x cpu[1]",
        Plan(stages="body | end", microbatches=2, replicas=2, segments=2, per_microbatch="end"),
    ),
}


@functools.cache
def lives(name):
    """Which marks stand after each phase, and which ever stood on the way there."""
    islands, plan = PROGRAMS[name]
    module = export(as_planned(Job(step, *shapes(), batch_argnums=(1,), donate_argnums=(0,)), resolved(plan, None)))
    write_texts(module, topology(islands), plan)
    standing, on_the_way = {}, {}
    for phase in PHASES:
        seen = set()
        run_passes(module, steps_of_phase(phase), lambda _, now, seen=seen: seen.update(standing_marks(now)))
        standing[phase.name], on_the_way[phase.name] = set(standing_marks(module)), seen
    return standing, on_the_way


@pytest.mark.parametrize("name", PROGRAMS)
def test_marks_stand_as_long_as_the_table_says(name):
    standing, on_the_way = lives(name)
    assert set().union(*on_the_way.values()) <= {mark.name for mark in IN_THE_PIPELINE}
    for number, phase in enumerate(PHASE_NAMES):
        ended = {mark.name for mark in MARKS if mark.gone and PHASE_NAMES.index(mark.gone) <= number}
        assert not standing[phase] & ended
        assert not on_the_way[phase] & {mark.name for mark in IN_THE_PIPELINE if PHASE_NAMES.index(mark.since) > number}


@pytest.mark.parametrize("mark", IN_THE_PIPELINE, ids=lambda mark: mark.name)
def test_a_mark_is_written_and_taken_away_where_its_row_says(mark):
    """In some of the programs, that is: no one of them has all marks."""
    all_lives = [lives(name) for name in PROGRAMS]
    assert any(mark.name in on_the_way[mark.since] for _, on_the_way in all_lives)
    if mark.gone is None:
        assert any(mark.name in standing[PHASE_NAMES[-1]] for standing, _ in all_lives)
    else:
        before = PHASE_NAMES[PHASE_NAMES.index(mark.gone) - 1]
        assert any(mark.name in standing[before] | on_the_way[mark.gone] for standing, on_the_way in all_lives)


# What verifiers refuse.


def test_a_mark_whose_life_is_over():
    module = parse_text("func.func private @f() attributes {atoll.layers = array<i64: 0, 1>}")
    check_marks(module, "timed")
    with pytest.raises(CompileError, match=r"atoll\.layers is left on func\.func, which nothing reads from here on"):
        check_marks(module, "staged")


@pytest.mark.parametrize("place", ["module attributes {{{0}}} {{}}", "func.func private @f(tensor<f32> {{{0}}})"])
def test_a_name_that_is_no_mark(place):
    module = parse_text(place.format("atoll.stagse = 0 : i32"))
    with pytest.raises(CompileError, match=r"there is no mark atoll\.stagse; did you mean 'atoll\.stage'"):
        check_marks(module, "stablehlo")


# The page.


def test_the_page_shows_the_table():
    page = (ROOT / "docs/marks.md").read_text(encoding="utf-8")
    table = page.partition("|---|---|---|---|---|---|\n")[2].partition("\n\n")[0]
    assert table.splitlines() == rows_of_marks(), "write what `rows_of_marks()` of module/mark_table.py returns"
