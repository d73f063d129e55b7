"""Errors of the front door: each shows the line that it names, and has its part of docs/errors.md."""

import ast
import copy
import functools
import io
import linecache
import pickle
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from atoll.compiler import terminal
from atoll.compiler.commands.cli import run_here
from atoll.compiler.error_pages import HEADINGS, PAGE, heading_of_file
from atoll.compiler.errors import AtollError, CompileError, InternalError, IslandLost, PlanError, UsageError
from atoll.compiler.source_line import SourceLine, excerpt_at
from atoll.compiler.terminal import error_text
from atoll.runtime.failure import Failure

import atoll

ROOT = Path(__file__).resolve().parents[2]
X = jax.ShapeDtypeStruct((4, 3), "float32")
ONE = "1 x cpu[1]"


# The line below the sentence.


@pytest.fixture
def file(tmp_path):
    made = tmp_path / "train.py"
    made.write_text("def step(x):\n    größe = x @ w\n\n\treturn\tx\n" + "a" * 200 + " + 1\n")
    return made


@pytest.mark.parametrize(
    ("line", "columns", "shown"),
    [
        (1, (), "  def step(x):\n  ^^^^^^^^^^^^"),
        (2, (14, 15), "  größe = x @ w\n          ^"),  # bytes, of which ö and ß take two
        (2, (14, 19), "  größe = x @ w\n          ^^^^^"),
        (2, (14, None), "  größe = x @ w\n          ^^^^^"),
        (2, (14, 14), "  größe = x @ w\n          ^"),
        (4, (8, 9), "  return x\n         ^"),
        (3, (0, 5), ""),  # an empty line
        (2, (50, 51), ""),  # the file was changed
        (9, (0, 1), ""),
    ],
)
def test_the_line_is_shown_with_carets_under_what_is_meant(file, line, columns, shown):
    where = f"{file}:{line}"
    assert excerpt_at(SourceLine(where, *columns) if columns else where) == shown


def test_a_column_in_the_place_counts_characters_from_1(file):
    assert excerpt_at(f"{file}:2:13") == "  größe = x @ w\n          ^".replace("          ^", "          ^")


def test_of_a_long_line_what_is_near(file):
    line, carets = excerpt_at(SourceLine(f"{file}:5", 200, 204)).splitlines()
    assert line.endswith("a + 1")
    assert line[2:5] == "..."
    assert len(line) == 2 + 3 + 100
    assert line[carets.index("^") : len(carets)] == " + 1"


@pytest.mark.parametrize(
    "where", ["", "train.py", "nowhere.py:3", "{folder}:1", "topology text, line 1, column 2", "a\0:1"]
)
def test_what_is_no_line_of_a_file_shows_nothing(where, tmp_path):
    assert excerpt_at(where.format(folder=tmp_path)) == ""


def test_a_file_beside_python_modules_is_not_taken_for_the_users():
    assert excerpt_at("ast.py:3") == ""


def test_a_binary_file_shows_nothing(tmp_path):
    (tmp_path / "program").write_bytes(bytes(range(256)))
    assert excerpt_at(f"{tmp_path}/program:1") == ""


def test_the_cell_of_a_notebook_is_shown():
    linecache.cache["<cell 3>"] = (5, None, ["y = f(x)\n"], "<cell 3>")
    assert excerpt_at(SourceLine("<cell 3>:1", 4, 8)) == "  y = f(x)\n      ^^^^"


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))])
def test_an_error_that_is_copied_or_sent_shows_the_same(copied, file):
    error = CompileError("the loss is no number", SourceLine(f"{file}:2", 14, 19), "take a mean")
    assert str(copied(error)) == str(error)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))])
def test_a_refusal_is_copied_or_sent_without_its_location(copied):
    shape = jax.ShapeDtypeStruct((4, 2), "float32")
    with pytest.raises(CompileError) as caught:
        atoll.lower(sorted_examples, shape, topology=ONE, batch_argnums=(0,), plan=atoll.Plan(microbatches=2))
    found = copied(caught.value)
    assert found.message == caught.value.message
    assert found.diagnostics == caught.value.diagnostics


def sorted_examples(x):
    return jnp.sort(x, axis=0)


def test_the_line_is_part_of_the_message(file):
    error = CompileError("the loss is no number", SourceLine(f"{file}:2", 14, 19), "take a mean")
    assert str(error) == f"{file}:2: the loss is no number; take a mean\n  größe = x @ w\n          ^^^^^"
    assert error.sentence == f"{file}:2: the loss is no number; take a mean"


def test_an_error_that_was_not_raised_names_no_page():
    assert str(PlanError("it is wrong", "plan text")) == "plan text: it is wrong"


def test_what_an_error_shows_already_is_not_replaced(file):
    assert AtollError("what", f"{file}:1", excerpt="  more").details == "  more"


def wrong(x):
    return jnp.cumsum(x, axis=1) @ jnp.ones((5, 5))


def test_a_failure_of_jax_shows_the_expression():
    with pytest.raises(CompileError) as caught:
        atoll.lower(wrong, X, topology=ONE)
    assert caught.value.details.splitlines() == [
        "  return jnp.cumsum(x, axis=1) @ jnp.ones((5, 5))",
        "         ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^",
    ]


def mixed(x):
    return x + jnp.sort(x, axis=0)


def test_a_refusal_of_a_pass_shows_the_expression():
    with pytest.raises(CompileError) as caught:
        atoll.lower(mixed, X, topology=ONE, batch_argnums=0, plan=atoll.Plan(microbatches=2))
    assert caught.value.details.splitlines() == [
        "  return x + jnp.sort(x, axis=0)",
        "             ^^^^^^^^^^^^^^^^^^^",
    ]


# On a terminal.


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("stream", "environment", "coloured"),
    [
        (Terminal(), {}, True),
        (Terminal(), {"NO_COLOR": ""}, True),
        (Terminal(), {"NO_COLOR": "1"}, False),
        (Terminal(), {"TERM": "dumb"}, False),
        (io.StringIO(), {}, False),
        (io.StringIO(), {"FORCE_COLOR": "1"}, True),
        (io.StringIO(), {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
    ],
)
def test_colours_are_for_terminals(stream, environment, coloured):
    assert terminal.has_colours(stream, environment) is coloured


def test_colours_add_nothing_else(file):
    error = PlanError("it is wrong", SourceLine(f"{file}:2", 14, 19), "correct it")
    plain, coloured = error_text(error), error_text(error, coloured=True)
    assert plain.splitlines() == [
        f"error: {file}:2: it is wrong; correct it",
        "  größe = x @ w",
        "          ^^^^^",
        "  see docs/errors.md#plan",
    ]
    assert re.sub(r"\033\[[\d;]*m", "", coloured) == plain
    assert f"\033[1m{file}:2\033[0m: it is wrong" in coloured


# Its part of the page.


def headings():
    text = (ROOT / PAGE).read_text()
    return {heading.lower().replace(" ", "-") for heading in re.findall(r"^## (.*)$", text, re.MULTILINE)}


BY_CLASS = {"defects", "lost-islands"}

# What is raised of these is no error of a user's.
OURS = {"AssertionError", "AttributeError", "NotImplementedError", "TypeError", "ValueError"}

# What several parts of atoll use; whoever calls them decides.
SHARED = {
    *(f"compiler/mlir/{name}.py" for name in ("attributes", "functions")),
    *(f"compiler/module/{name}.py" for name in ("check_names", "interface", "loop_roles", "main_function", "marking")),
    *(f"compiler/module/{name}.py" for name in ("mesh_types", "notes", "noting", "planned", "task_order", "tasks")),
    "compiler/replicas/check_exchanges.py",
    "compiler/text/language.py",
    "compiler/text/quantities.py",
    "compiler/tracebacks.py",
}


@functools.cache
def raising_files():
    found = []
    for folder in ("checkpoint", "compiler", "passes", "runtime"):
        for path in (ROOT / folder).rglob("*.py"):
            raised = [node.exc for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Raise)]
            names = {ast.unparse(one.func if isinstance(one, ast.Call) else one) for one in raised if one is not None}
            if names - OURS:
                found.append(path.relative_to(ROOT).as_posix())
    return found


def test_every_heading_belongs_to_a_part_of_atoll_and_the_other_way_round():
    assert {heading for _, heading in HEADINGS if heading} | BY_CLASS == headings()


def test_every_file_that_raises_an_error_has_a_heading():
    without = {path for path in raising_files() if heading_of_file(path) is None}
    assert without <= SHARED, "say in compiler/error_pages.py which part of docs/errors.md is about it"


@pytest.mark.parametrize("pattern", [pattern for pattern, _ in HEADINGS])
def test_every_pattern_decides_for_a_file(pattern):
    deciding = [next((one for one, _ in HEADINGS if Path(path).match(one)), None) for path in raising_files()]
    assert pattern in deciding


# Each, provoked as a user would.


def lowered(fn, **options):
    return atoll.lower(fn, X, topology=options.pop("topology", ONE), **options)


def called(*args):
    with atoll.compile(jnp.sin, X, topology=ONE) as step:
        return step(*args)


def fails(*_):
    raise OSError("the disk is gone")


def fed():
    with atoll.compile(jnp.sin, X, topology=ONE, batch_argnums=0) as step:
        step(atoll.Feed(fails)).block_until_ready()


def uncompilable():
    call = jax.ffi.ffi_call("nowhere", X)
    with atoll.compile(lambda x: call(x) + 1, X, topology=ONE):
        pass


def layers_in_the_wrong_order(x):
    with jax.named_scope("first"):
        x = jnp.sin(x)
    with jax.named_scope("second"):
        return jnp.cos(x) @ jnp.ones((3, 3))


def lost():
    raise Failure.loss("island left was lost").error


def defective():
    raise InternalError("internal error, KeyError: 3")


PROVOKED = {
    "arguments": (CompileError, lambda: lowered(jnp.sin, batch_argnums=3)),
    "batch": (CompileError, lambda: lowered(mixed, batch_argnums=0, plan=atoll.Plan(microbatches=2))),
    "calls": (UsageError, lambda: called(jnp.ones((5, 5)))),
    "checkpoints": (UsageError, lambda: atoll.load_checkpoint("nowhere", like={})),
    "compiling": (CompileError, uncompilable),
    "defects": (InternalError, defective),
    "devices": (atoll.TopologyError, lambda: atoll.compile(jnp.sin, X, topology="2 x gpu[1]")),
    "ir": (UsageError, lambda: lowered(jnp.sin).ir("stablehol")),
    "lost-islands": (IslandLost, lost),
    "plan": (PlanError, lambda: lowered(jnp.sin, plan=atoll.Plan(stages="nowhere"))),
    "processes": (UsageError, lambda: atoll.Cluster(ONE, cluster=3)),
    "running": (AtollError, fed),
    "saved-programs": (UsageError, lambda: atoll.load("nowhere.atoll")),
    "schedules": (PlanError, lambda: atoll.schedule("2f2b", islands=2, microbatches=2)),
    "stages": (
        PlanError,
        lambda: lowered(
            layers_in_the_wrong_order, topology="2 x cpu[1]", plan=atoll.Plan(stages="second | first")
        ),
    ),
    "topology": (atoll.TopologyError, lambda: atoll.topology("2 x gpu[0]")),
    "tracing": (CompileError, lambda: lowered(wrong)),
}  # fmt: skip


@pytest.mark.parametrize("heading", PROVOKED)
def test_an_error_names_its_part_of_the_page_and_shows_the_line(heading):
    kind, provoke = PROVOKED[heading]
    with pytest.raises(kind) as caught:
        provoke()
    error = caught.value
    assert error.page == f"{PAGE}#{heading}"
    assert str(error).splitlines()[-1] == f"  see {error.page}"
    assert error.remedy or heading in ("running", "compiling", "defects")
    shows_the_line(error)


def shows_the_line(error):
    """A place in a file of the user's, and that line with carets; or a place in a text, and that."""
    line, carets = error.details.splitlines()
    assert set(carets) == {" ", "^"}
    if re.search(r"\.py:\d+$", error.where):
        assert line.strip() in Path(error.where.rpartition(":")[0]).read_text()
    else:
        assert re.search(r" text, line 1, column \d+$", error.where)


# What the front door is given that it cannot take: the line that gives it is shown, with carets under the call.
ASKED = {
    "plan": [
        "atoll.Plan(microbatches=-1)",
        "atoll.Plan(stages=1.5)",
        "atoll.Plan(placement={'a': 'left'}, stages=2)",
        "atoll.Plan.parse(2)",
        "atoll.lower(jnp.sin, X, topology=ONE, plan=atoll.Plan(stages='nowhere'))",
    ],
    "schedules": ["atoll.Plan(schedule='x')", "atoll.schedule('x', islands=2, microbatches=2)"],
    "topology": ["atoll.lower(jnp.sin, X, topology=2)", "atoll.topology([3])", "atoll.Topology(())"],
    "arguments": [
        "atoll.lower(jnp.sin, X, topology=ONE, plan=None)",
        "atoll.Job(3)",
        "atoll.lower(jnp.sum, {'a': X, 'b': len}, topology=ONE)",
    ],
    "saved-programs": ["atoll.load('nowhere')"],
    "calls": ["atoll.Feed(3)", "atoll.from_jax({})", "atoll.from_jax({'w': X}, like={})"],
    "checkpoints": [
        "atoll.load_checkpoint('nowhere')",
        "atoll.load_checkpoint('nowhere', like={})",
        "atoll.save_checkpoint('nowhere', -1, {'w': jnp.ones(2)})",
        "atoll.save_checkpoint('nowhere', 1, {'w': object()})",
    ],
    "processes": ["atoll.Cluster(ONE, cluster='here')", "atoll.Cluster(ONE, cluster='ray', watchdog=0)"],
}


@pytest.mark.parametrize(("heading", "asked"), [(heading, one) for heading, all_ in ASKED.items() for one in all_])
def test_what_cannot_be_taken_is_shown_where_it_is_given(heading, asked, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    program = tmp_path / "train.py"
    program.write_text(f"found = {asked}\n")
    with pytest.raises(AtollError) as caught:
        exec(compile(program.read_text(), program, "exec"), {**globals(), "__file__": str(program)})
    error = caught.value
    assert (error.where, error.page) == (f"{program}:1", f"{PAGE}#{heading}")
    assert error.remedy or "must be a" in error.what or "takes a whole number" in error.what
    assert error.details == f"  found = {asked}\n          {'^' * len(asked)}"


def test_an_error_of_the_command_line_names_its_part_of_the_page(capsys):
    assert run_here(["dump", "nowhere.py:job"]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == "  see docs/errors.md#command-line"


def test_every_heading_is_provoked():
    elsewhere = {"command-line", "memory"}  # above; and in test_ahead.py, which needs no chips
    assert PROVOKED.keys() | elsewhere == headings()
