"""A command that a standing Python answers is the one that would have been started."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import standing_python

pytestmark = pytest.mark.own


def run(*command, **options):
    environment = standing_python.settings() | options.pop("also", {})
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, **options)


def test_it_has_the_callers_arguments_streams_folder_and_environment(tmp_path):
    program = (
        "import os, sys; print(sys.argv, input(), os.getcwd(), os.environ['ATOLL_X']); print('b', file=sys.stderr)"
    )
    ran = run("python", "-c", program, "x", "-y", input="typed\n", cwd=tmp_path, also={"ATOLL_X": "ö"})
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, f"['-c', 'x', '-y'] typed {tmp_path} ö\n", "b\n")


def test_a_file_is_the_main_module_and_finds_its_neighbours(tmp_path):
    (tmp_path / "other.py").write_text("number = 3\n")
    (tmp_path / "a.py").write_text("import sys, other\nprint(__name__, sys.argv, other.number)\n")
    assert run("python", str(tmp_path / "a.py"), "x").stdout == f"__main__ ['{tmp_path}/a.py', 'x'] 3\n"


def test_it_ends_as_the_command_does():
    assert run("python", "-c", "raise SystemExit(7)").returncode == 7
    assert run("python", "-c", "import os; os.abort()").returncode == 128 + signal.SIGABRT
    failed = run("python", "-c", "def f(): return x\nf()")
    assert failed.returncode == 1
    lines = ['File "<string>", line 2, in <module>', 'File "<string>", line 1, in f']
    assert failed.stderr.splitlines()[1:] == [*(f"  {line}" for line in lines), "NameError: name 'x' is not defined"]


def test_an_error_names_no_line_of_it(tmp_path):
    (tmp_path / "a.py").write_text("import atoll\natoll.topology('2 x')\n")
    program = f"import runpy; runpy.run_path({str(tmp_path / 'a.py')!r})"
    for command in (["python", "-c", program], ["atoll", "opt", "nowhere.mlir"]):
        assert "standing_python" not in run(*command).stderr
    (tmp_path / "job.py").write_text("import atoll\njob = atoll.Job(lambda x: x, 1.0)\n")
    ran = run("atoll", "plan", "job.py:job", "--topology", "2 x cpu[1]", "--batch", "y", cwd=tmp_path)
    assert ran.returncode == 1
    assert "standing_python" not in ran.stderr


def test_jax_is_there_and_has_not_begun():
    program = "import sys; assert 'jax' in sys.modules; import jax; print(len(jax.devices()))"
    ran = run("python", "-c", program, also={"XLA_FLAGS": "--xla_force_host_platform_device_count=3"})
    assert ran.stdout == "3\n", ran.stderr


@pytest.mark.parametrize(
    ("command", "also"),
    [
        (["python", "-c"], {"JAX_ENABLE_X64": "1"}),
        (["python", "-c"], {"PYTHONHASHSEED": "1"}),
        (["python", "-I", "-c"], {}),
    ],
)
def test_what_it_cannot_be_is_started(command, also):
    ran = run(*command, "import sys; print('jax' in sys.modules)", also=also)
    assert (ran.returncode, ran.stdout) == (0, "False\n")


def test_nobody_asks_any_more():
    """The command ends with whoever has started it."""
    program = "import os, time; print(os.getpid(), flush=True); time.sleep(100)"
    command = ["python", "-c", program]
    with subprocess.Popen(command, env=standing_python.settings(), stdout=subprocess.PIPE, text=True) as asking:
        pid = int(asking.stdout.readline())
        assert Path(f"/proc/{pid}").exists()
        asking.kill()
    deadline = time.monotonic() + 20
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.parametrize(("name", "given"), [("atoll", ["opt"]), ("atoll-opt", [])])
def test_commands_of_atoll(name, given):
    ran = run(name, *given, "nowhere.mlir")
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr.startswith("error: nowhere.mlir: cannot read: No such file or directory; ")
