"""The lists that packaging and the pass registry need, compared with the tree and a wheel of it; and its types."""

import dataclasses
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path, PurePosixPath

import pytest
from atoll.compiler.pipeline.native_passes import NATIVE_PASSES
from atoll.compiler.pipeline.pass_base import Pass
from atoll.compiler.pipeline.pipeline import PHASES
from atoll.compiler.pipeline.registry import pass_class
from atoll.passes import PASSES

pytestmark = pytest.mark.own

ROOT = Path(__file__).resolve().parent.parent
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())
FOLDERS = ("atoll", "checkpoint", "compiler", "examples", "passes", "runtime")

JOB = """\
import atoll
import jax

job = atoll.Job(lambda x: x + x, jax.ShapeDtypeStruct((2,), "float32"), batch_argnums=0)
"""

# A file as users write it, strictly typed, with the types that they may rely on.
TRAIN = """\
import atoll
import jax
import jax.numpy as jnp
import numpy


def train_step(w: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    return w - 0.1 * x.sum(), (x @ w).sum()


def look(array: atoll.Array) -> None:
    reveal_type(array.shape)  # tuple[int, ...]
    reveal_type(array.islands)  # tuple[str, ...]
    reveal_type(numpy.asarray(array))  # numpy.ndarray[tuple[Any, ...], numpy.dtype[Any]]
    reveal_type(array.to_jax())  # Array


arguments = jnp.ones((8, 8)), jnp.ones((4, 8))
plan = atoll.Plan(stages=2, microbatches=4, schedule="1f1b")
topology = atoll.topology("2 x cpu[1]")
job = atoll.Job(train_step, *arguments, batch_argnums=1)
lowered = atoll.lower(job, topology=topology, plan=plan)
step = atoll.compile(train_step, *arguments, topology="2 x cpu[1]", batch_argnums=1)

reveal_type(plan)  # Plan
reveal_type(topology)  # Topology
reveal_type(job)  # Job
reveal_type(lowered)  # Lowered
reveal_type(lowered.compile())  # Compiled | CompiledAhead
reveal_type(step)  # Compiled
reveal_type(step.plan)  # Plan
reveal_type(step.report())  # Report
reveal_type(step.ir("placed"))  # str
reveal_type(atoll.schedule("1f1b", islands=2, microbatches=4))  # Schedule
reveal_type(atoll.load("step.atoll"))  # Compiled
with atoll.Cluster(topology) as cluster:
    reveal_type(cluster)  # Cluster
try:
    step(*arguments)
except atoll.AtollError as error:
    reveal_type(error.where)  # str

atoll.Plan(stagse=2)
atoll.Plan(microbatches="four")
atoll.Plan(update="half")
atoll.compile(train_step, *arguments)
atoll.lower(job, topology=2)
"""


def test_files_are_short():
    """A file is about one thing: half of them have at most 150 lines, and none has above 400."""
    rooms = (ROOT / name for name in ("checkpoint", "compiler", "passes", "runtime"))
    lengths = {file: len(file.read_text().splitlines()) for room in rooms for file in room.rglob("*.py")}
    assert sorted(lengths.values())[len(lengths) // 2] <= 150
    assert {file: length for file, length in lengths.items() if length > 400} == {}


def package_files():
    """Every file that a wheel must have: its path in the tree, and in the package `atoll`."""
    for folder in FOLDERS:
        for file in sorted((ROOT / folder).rglob("*")):
            if file.suffix in (".py", ".lark", ".txt", ".css", ".js") or file.name == "py.typed":
                path = file.relative_to(ROOT)
                yield path, path if folder == "atoll" else Path("atoll", path)


def modules():
    """Every module of the package."""
    for _, path in package_files():
        if path.suffix == ".py":
            parts = path.parent.parts if path.name == "__init__.py" else path.with_suffix("").parts
            yield ".".join(parts)


# Packages.


def test_the_package_list_is_the_tree():
    inits = [path.parent for _, path in package_files() if path.name == "__init__.py"]
    assert SETTINGS["tool"]["setuptools"]["packages"] == sorted(".".join(path.parts) for path in inits)


def test_every_folder_of_modules_is_a_package():
    for path, _ in package_files():
        assert (ROOT / path.parent / "__init__.py").is_file()


def test_the_view_for_type_checkers_links_every_package():
    view = ROOT / "typings" / "atoll"
    names = {*FOLDERS[1:], *(file.name for file in (ROOT / "atoll").iterdir() if file.is_file())}
    assert {link.name for link in view.iterdir()} == names
    for link in view.iterdir():
        here = ROOT / link.name if link.name in FOLDERS else ROOT / "atoll" / link.name
        assert link.is_symlink()
        assert link.resolve() == here


# A wheel.


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    """A wheel, built from a copy since setuptools leaves files behind."""
    copy = tmp_path_factory.mktemp("copy")
    for name in ("LICENSE", "pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, copy)
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    flags = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    run(sys.executable, "-m", "pip", "wheel", *flags, "--wheel-dir", copy / "wheels", copy, cwd=copy)
    (built,) = (copy / "wheels").iterdir()
    return built


@pytest.fixture(scope="session")
def clean(wheel, tmp_path_factory):
    """The commands of a clean environment, in which the wheel is installed."""
    home = tmp_path_factory.mktemp("clean")
    venv.create(home, symlinks=True)
    paths = sysconfig.get_paths("venv", {"base": home, "platbase": home})
    flags = ["--quiet", "--no-deps", "--no-index", "--disable-pip-version-check"]
    run(sys.executable, "-m", "pip", "--python", home, "install", *flags, wheel, cwd=home)
    # The dependencies are those of this environment. Of a folder named in a .pth file Python does not read the .pth
    # files in turn, so an editable atoll that is installed there stays out of sight.
    Path(paths["purelib"], "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return Path(paths["scripts"])


def run(*command, cwd):
    """What a command prints, run without this repository on Python's path."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    ran = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def test_the_wheel_has_every_file_and_no_other(wheel):
    found = [PurePosixPath(name) for name in zipfile.ZipFile(wheel).namelist()]
    content = sorted(str(path) for path in found if not path.parts[0].endswith(".dist-info"))
    assert content == sorted(path.as_posix() for _, path in package_files())


def test_every_module_of_the_wheel_imports(clean, tmp_path):
    script = f"""
import importlib, pathlib, sys
for name in {list(modules())}:
    if name != "atoll.__main__":
        file = importlib.import_module(name).__file__
        assert pathlib.Path(file).is_relative_to(sys.prefix), file
"""
    run(clean / "python", "-c", script, cwd=tmp_path)


def test_the_commands_of_the_wheel_run(clean, tmp_path):
    (tmp_path / "train.py").write_text(JOB)
    assert "dump" in run(clean / "atoll", "--help", cwd=tmp_path)
    assert "inline-calls" in run(clean / "atoll-opt", "--list-passes", cwd=tmp_path)
    assert 'atoll.phase = "stablehlo"' in run(
        clean / "atoll", "dump", "train.py:job", "--phase=stablehlo", cwd=tmp_path
    )


# Types.


def revealed(told):
    """The types, without the modules of atoll's and jax's classes."""
    types = re.findall(r'Revealed type is "(.*)"$', told, re.MULTILINE)
    return [re.sub(r"\b(?:atoll|jax)(?:\.\w+)*\.(\w+)", r"\1", one) for one in types]


def complaints(told):
    return [one.partition("  [")[0] for one in re.findall(r"error: (.*)$", told, re.MULTILINE)]


def types_promised():
    return re.findall(r"reveal_type\(.*\)  # (.*)$", TRAIN, re.MULTILINE)


def test_the_front_door_has_types_which_find_mistakes_before_anything_runs(tmp_path):
    """By mypy, with what it knows of atoll and jax from checking atoll itself."""
    (tmp_path / "train.py").write_text(TRAIN)
    command = [sys.executable, "-m", "mypy", "--config-file", "pyproject.toml", tmp_path / "train.py"]
    environment = {**os.environ, "MYPYPATH": "typings"}
    told = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False).stdout
    assert revealed(told) == types_promised()
    four, auto, half = (f"Literal['{word}']" for word in ("four", "auto", "half"))
    update = "Literal['whole', 'sharded', 'auto']"
    assert complaints(told) == [
        'Unexpected keyword argument "stagse" for "Plan"; did you mean "stages"?',
        f'Argument "microbatches" to "Plan" has incompatible type "{four}"; expected "int | {auto}"',
        f'Argument "update" to "Plan" has incompatible type "{half}"; expected "{update}"',
        'Missing named argument "topology" for "compile"',
        'Argument "topology" to "lower" has incompatible type "int"; expected "Topology | str | Cluster"',
    ]


# What takes a minute or more.


@pytest.fixture
def full(request):
    if not request.config.getoption("full"):
        pytest.skip("it takes minutes; --full asks for it")


def test_the_types_of_the_wheel_are_those_of_the_front_door(full, clean, tmp_path):
    (tmp_path / "train.py").write_text(TRAIN)
    command = [sys.executable, "-m", "mypy", "--strict", "--python-executable", clean / "python", "train.py"]
    told = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False).stdout
    assert revealed(told) == types_promised()
    assert len(complaints(told)) == 5


def test_the_wheel_installs_into_an_empty_environment(full, wheel, tmp_path):
    """With its dependencies, from wherever pip finds them; and then all is there that a first program needs."""
    venv.create(tmp_path / "empty", with_pip=True)
    commands = Path(sysconfig.get_path("scripts", "venv", {"base": tmp_path / "empty"}))
    run(commands / "python", "-m", "pip", "install", "--quiet", wheel, cwd=tmp_path)
    (tmp_path / "train.py").write_text(JOB)
    assert "result" in run(commands / "atoll", "run", "train.py:job", "--topology=2 x cpu[1]", cwd=tmp_path)
    assert run(commands / "atoll", "doctor", cwd=tmp_path).endswith("nothing would fail\n")


# Passes.


def test_the_table_of_passes_is_the_tree():
    files = [path for path in sorted((ROOT / "passes").glob("*/*.py")) if path.name != "__init__.py"]
    modules = {file.stem.replace("_", "-"): f"atoll.passes.{file.parent.name}.{file.stem}" for file in files}
    assert {name: path.partition(":")[0] for name, path in PASSES.items()} == modules
    assert list(PASSES) == sorted(PASSES)


@pytest.mark.parametrize("name", PASSES)
def test_a_pass_is_a_frozen_dataclass(name):
    loaded = pass_class(name)
    assert issubclass(loaded, Pass)
    assert dataclasses.is_dataclass(loaded)
    assert loaded.__dataclass_params__.frozen
    assert loaded.name() == name


def test_the_pipeline_names_passes_that_exist():
    assert {name for phase in PHASES for name in phase.passes} <= {*PASSES, *NATIVE_PASSES}


def test_a_pass_runs_in_the_phase_of_its_folder():
    for phase in PHASES:
        ours = [PASSES[name] for name in phase.passes if name in PASSES]
        assert {path.split(".")[2] for path in ours} == {phase.made_by}
