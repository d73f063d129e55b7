"""What imports what: folders each other, and atoll the libraries that take long to load."""

import ast
import functools
import json
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest

import atoll

ROOT = Path(__file__).resolve().parent.parent

FOLDERS = ("atoll", "checkpoint", "compiler", "examples", "passes", "runtime")

# The rooms of the compiler, in the order in which a program meets them; each may import those before it and itself.
ROOMS = (
    "source_line",
    "error_pages",
    "tracebacks",
    "errors",
    "terminal",
    "activity",
    "display",
    "logs",
    "task_name",
    "guard",
    "files",
    "garbage",
    "text",
    "mlir",
    "topology",
    "schedules",
    "plan",
    "module",
    "cost",
    "pipeline",
    "export",
    "batch_rules",
    "replicas",
    "emit",
    "report",
    "view",
    "ahead",
    "saving",
    "inspectable",
    "replica_prints",
    "conversion",
    "debug_flags",
    "cluster",
    "compiled",
    "compiled_ahead",
    "lowered",
    "planner",
    "scaling",
    "doctor",
    "commands",
)

# What a file may import of other folders, beside its own; the first pattern that fits decides.
MAY_IMPORT = {
    "atoll/*": ["*"],
    "examples/*": ["*"],
    "compiler/commands/demo.py": ["*"],  # stands where a user's program would
    "compiler/commands/*": ["compiler*", "passes", "runtime*"],
    # What is compiled ahead is lowered as islands lower it, with the same settings, and its errors are read alike.
    "compiler/ahead/*": [
        "compiler*",
        *(f"runtime.{name}" for name in ("compilation", "failure", "fragment", "prebuilt", "program*")),
        "runtime.processes.settings",
    ],
    "compiler/cluster.py": ["compiler*", "runtime*"],  # what a user holds: islands, and what has them
    "compiler/compiled.py": ["compiler*", "runtime*"],  # or a compiled program, and what runs it
    "compiler/conversion.py": ["compiler*", "runtime*"],  # or arrays, on islands and off them
    "compiler/debug_flags.py": ["compiler*", "runtime*"],  # and what jax is asked to look for in them
    "compiler/export/feed.py": ["compiler*", "runtime.fed"],  # what a user gives, and what hosts get of it
    "compiler/replica_prints.py": ["compiler*", "runtime.replica_print"],  # what it calls, and what calls it
    # Of the passes their table, since the registry loads them; of the runtime the format of what it is given.
    "compiler/*": ["compiler*", "passes", "runtime.program*"],
    # Called in a process of an island, with what that has of a value.
    "checkpoint/island_writing.py": ["runtime.processes.tiles"],
    "checkpoint/writing_islands.py": ["checkpoint*", "compiler.errors", "runtime.array", "runtime.failure"],
    # What a user holds goes into files and comes back: arrays, and nothing of what made them.
    "checkpoint/*": ["checkpoint*", "compiler.errors", "compiler.tracebacks", "runtime.array", "runtime.leaves"],
    # Asks the planner, which has passes count what layers cost.
    "passes/time/folding/planned_division.py": ["passes*", "compiler*"],
    # Passes build on what is known of a module, and on what they prove; what comes after them is not for them.
    "passes/*": [
        "passes*",
        *(f"compiler.{room}*" for room in ROOMS[: ROOMS.index("emit")] if room != "export"),
    ],
    # A worker process needs of the compiler its errors, the names of tasks and what reads MLIR, nothing else.
    "runtime/fragment.py": ["runtime*", "compiler.errors", "compiler.mlir*"],  # what meets MLIR
    "runtime/prebuilt.py": ["runtime*", "compiler.mlir.ir_text"],  # tells fragments apart by their text
    "runtime/crossing.py": ["runtime*", "compiler.mlir.bindings"],  # where private names of jax are; it needs one
    "runtime/layout.py": ["runtime*", "compiler.mlir.bindings"],  # the same
    "runtime/hosted_islands.py": ["runtime*", "compiler.activity", "compiler.errors"],  # tells what hosts do
    "runtime/*": ["runtime*", "compiler.errors", "compiler.task_name"],
}

# Libraries that take long to load, or that a user of atoll need not have.
HEAVY = {
    *("equinox", "flax", "jax", "jaxlib", "lark", "ml_dtypes", "numpy", "optax", "orbax", "perfetto", "ray"),
    *("scipy", "tensorstore"),
}

MODULE = """\
func.func @main(%x: tensor<2xf32>) -> tensor<2xf32> {
  return %x : tensor<2xf32>
}
"""


@functools.cache
def statements(path):
    """All that import anything in a file: at its top, when it runs, or for its types."""
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return [node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]


def imports(path):
    """What a file imports of the package: `compiler.mlir`, or `compiler` for names from it."""
    for node in statements(path):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
        yield from (name.removeprefix("atoll.") for name in names if name.startswith("atoll."))


@pytest.mark.own
@pytest.mark.parametrize("folder", FOLDERS)
def test_folders_know_only_what_they_may(folder):
    for file in sorted((ROOT / folder).rglob("*.py")):
        path = file.relative_to(ROOT).as_posix()
        allowed = next(MAY_IMPORT[pattern] for pattern in MAY_IMPORT if fnmatch(path, pattern))
        wrong = [name for name in imports(file) if not any(fnmatch(name, pattern) for pattern in allowed)]
        assert not wrong, f"{path} may not import {wrong}"


def room_of(name):
    """Where a module of the compiler stands in the order of rooms: `compiler.mlir.bindings` is in `mlir`."""
    return ROOMS.index(name.split(".")[1])


@pytest.mark.own
def test_every_file_of_the_compiler_is_in_a_room():
    found = {path.stem for path in (ROOT / "compiler").iterdir() if not path.name.startswith("__")}
    assert found == set(ROOMS)


@pytest.mark.own
def test_rooms_import_only_those_before_them():
    for file in sorted((ROOT / "compiler").rglob("*.py")):
        path = file.relative_to(ROOT)
        name = ".".join(path.with_suffix("").parts)
        if name == "compiler.__init__":
            continue
        wrong = [one for one in imports(file) if one.startswith("compiler.") and room_of(one) > room_of(name)]
        assert not wrong, f"{path} may not import {wrong}, which is in a later room"


def imports_by_module():
    """For each module of the package those that it imports anywhere."""
    files = [path.relative_to(ROOT) for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
    modules = {".".join(path.with_suffix("").parts).removesuffix(".__init__"): path for path in files}

    def imported(statement):
        if isinstance(statement, ast.Import):
            yield from (alias.name.removeprefix("atoll.") for alias in statement.names)
        elif statement.module:
            name = statement.module.removeprefix("atoll.")
            inside = [f"{name}.{alias.name}" for alias in statement.names]
            yield from [one for one in inside if one in modules] or [name]

    return {
        module: {one for statement in statements(ROOT / path) for one in imported(statement)}
        for module, path in modules.items()
    }


def way_back(module, graph):
    """The modules by which a module imports itself, each imported by the one before; None if it does not."""
    ways = {one: [module, one] for one in graph[module]}
    left = list(ways)
    while left and module not in ways:
        last = left.pop(0)
        new = [one for one in graph.get(last, ()) if one not in ways]
        ways.update({one: [*ways[last], one] for one in new})
        left += new
    return ways.get(module)


@pytest.mark.own
def test_no_modules_import_each_other_in_a_circle():
    graph = imports_by_module()
    circles = [" -> ".join(way) for module in graph if (way := way_back(module, graph))]
    assert not circles


@pytest.mark.own
@pytest.mark.parametrize(
    ("graph", "way"),
    [
        ({"a": {"b"}, "b": {"c", "jax"}, "c": {"a"}}, ["a", "b", "c", "a"]),
        ({"a": {"a"}}, ["a", "a"]),
        ({"a": {"b"}, "b": {"c"}, "c": {"b"}}, None),
    ],
)
def test_a_circle_is_found(graph, way):
    assert way_back("a", graph) == way


@pytest.mark.own
def test_folders_are_not_imported_by_their_own_names(tmp_path):
    forms, told = ("import {}", "import {}.x", "from {} import x", "from {}.x import y"), {}
    for folder in FOLDERS[1:]:
        for number, form in enumerate(forms):
            file = tmp_path / f"{folder}{number}.py"
            file.write_text(form.format(folder) + "\n")
            told[str(file)] = f"Import `atoll.{folder}`"
    command = [sys.executable, "-m", "ruff", "check", "--no-cache", "--select=TID251", "--output-format=json"]
    command += ["--config", "pyproject.toml", str(tmp_path)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    found = {one["filename"]: one["message"] for one in json.loads(ran.stdout)}
    assert found.keys() == told.keys()
    assert all(sentence in found[file] for file, sentence in told.items())


def loaded_by(program, cwd):
    """The heavy libraries that are loaded when a program ends."""
    script = f"""
import atexit, json, sys
atexit.register(lambda: print(json.dumps(sorted({{name.partition(".")[0] for name in sys.modules}})), file=sys.stderr))
{program}
"""
    ran = subprocess.run([sys.executable, "-c", script], cwd=cwd, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return HEAVY & set(json.loads(ran.stderr.splitlines()[-1]))


# To start Python takes longest: what may load the same libraries is tried in one process.
NOTHING_HEAVY = """
import atoll, atoll.passes, atoll.runtime
dir(atoll); atoll.Job; atoll.CompileError
from atoll.__main__ import main
for command in ([], ["dump"], ["view"], ["run"], ["opt"], ["demo"], ["up"], ["down"], ["doctor"]):
    try:
        status = main([*command, "--help"])
    except SystemExit as end:
        status = end.code
    assert not status, command
"""
LANGUAGES = """
import atoll, atoll.compiler.schedules.search
atoll.Plan(stages=2), atoll.Plan(stages="a | b"), atoll.topology("2 x cpu[4]")
atoll.schedule("zb-v", islands=2, microbatches=4).simulate()
"""


def run_here(*commands):
    """A program that runs commands in its own process, where their imports can be seen."""
    return f"""
from atoll.compiler.commands.cli import run_here
for command in {list(commands)}:
    assert run_here(command) == 0, command
"""


@pytest.mark.parametrize(
    ("program", "libraries"),
    [
        (NOTHING_HEAVY, set()),
        (LANGUAGES, {"lark"}),
        ("import atoll; atoll.save_checkpoint", {"jax", "jaxlib", "ml_dtypes", "numpy"}),
    ],
    ids=["nothing", "languages", "checkpoints"],
)
def test_nothing_heavy_is_loaded_before_it_is_needed(program, libraries, tmp_path):
    assert loaded_by(program, tmp_path) == libraries


def test_commands_on_modules_need_no_jax(tmp_path):
    (tmp_path / "main.mlir").write_text(MODULE)
    commands = (
        ["opt", "--list-passes"],
        ["opt", "main.mlir", "--passes", "inline-calls, cse"],
        ["dump", "main.mlir", "--after", "inline-calls"],
    )
    assert "jax" not in loaded_by(run_here(*commands), tmp_path)


def test_only_a_trace_needs_the_format_of_traces(tmp_path):
    program = "import atoll.compiler.compiled, atoll.runtime.controller, atoll.runtime.trace_slices"
    assert "perfetto" not in loaded_by(program, tmp_path)


def test_every_name_of_the_front_door_is_there():
    assert dir(atoll) == sorted(atoll.__all__)
    assert [getattr(atoll, name).__name__ for name in atoll.__all__] == list(atoll.__all__)


def test_an_unknown_name_of_the_front_door():
    with pytest.raises(
        AttributeError, match="module 'atoll' has no attribute 'compil'; it has Array, AtollError, "
    ) as raised:
        _ = atoll.compil
    # By these Python says what is near: "Did you mean: 'compile'?"
    assert (raised.value.name, raised.value.obj) == ("compil", atoll)
