"""A Python that stands by with jax imported, for the commands of tests and documents: each is a fork of it.

To import jax and the compiler takes a second and a half, which is more than most commands take. `settings()` is an
environment in which `atoll`, `atoll-opt` and `python` ask for a fork. It has the command's arguments, streams, folder
and environment, and the command ends as it does. A command that Python alone can start, as it has options of Python's
or other settings of jax, is started as usual.
"""

import array
import atexit
import functools
import gc
import importlib
import json
import os
import py_compile
import runpy
import select
import signal
import socket
import subprocess
import sys
import sysconfig
import types
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

# What a command imports that compiles a model.
_IMPORTED = ("jax.export", "optax", "atoll.compiler.commands.dump", "atoll.compiler.commands.opt")

# Settings that are read once, by Python when it starts or by modules when they are imported.
_READ_ONCE = ("JAX_", "LANG", "LC_", "PYTHON")

# What programs train in documents is small: nearly all of their time is XLA's, which need not take all of its trouble.
# Newer releases than 0.10 have no such flag, and end a process that is given one.
_QUICKLY = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
if metadata.version("jaxlib").startswith("0.10."):
    _QUICKLY["XLA_FLAGS"] = "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"

_COMMANDS = {"python": "", "atoll": "-m atoll", "atoll-opt": "-m atoll opt"}
_ASKING = Path(__file__).with_name("ask_standing_python.py")
_MOST = 1 << 20  # bytes of a request


def settings() -> dict[str, str]:
    """The environment of a command: this process's, but for what is set for tests alone."""
    return {
        **_kept(),
        "PATH": os.pathsep.join((str(_folder().path), sysconfig.get_path("scripts"), os.environ["PATH"])),
    }


def _kept() -> dict[str, str]:
    left_out = ("MAKEFLAGS", "MAKELEVEL", "XLA_FLAGS")
    return {name: value for name, value in os.environ.items() if name not in left_out} | _QUICKLY


def spent() -> float:
    """Processor seconds of what stands by, and of the commands that had ended when it was last asked."""
    if not _folder.cache_info().currsize:
        return 0.0
    ticks = Path(f"/proc/{_folder().standing}/stat").read_text().rpartition(") ")[2].split()[11:15]
    return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


class _Folder(NamedTuple):
    """Where the commands are, and the process that answers them."""

    path: Path
    standing: int


@functools.cache
def _folder() -> _Folder:
    """They are gone when this process ends."""
    made = TemporaryDirectory(prefix="atoll-commands-")
    for name, before in _COMMANDS.items():
        script = Path(made.name, name)
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -IS "{_ASKING}" "{made.name}/socket" {before} "$@"\n')
        script.chmod(0o755)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"{made.name}/socket")
        listening.listen(64)
        command = [sys.executable, _compiled(Path(made.name)), str(listening.fileno())]
        standing = subprocess.Popen(command, stdin=subprocess.PIPE, env=_kept(), pass_fds=[listening.fileno()])
    atexit.register(_end, standing, made)
    return _Folder(Path(made.name), standing.pid)


def _compiled(folder: Path) -> str:
    """This file for Python, in whose frames it is the command `atoll`: an error names the first line of no library, and
    what a user starts has none before that."""
    made, command = str(folder / "standing.pyc"), str(Path(sysconfig.get_path("scripts"), "atoll"))
    return py_compile.compile(__file__, cfile=made, dfile=command, doraise=True)


def _end(standing: subprocess.Popen, made: TemporaryDirectory) -> None:
    standing.communicate()  # it ends with its standard input
    made.cleanup()


def _read_once(environment: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(_READ_ONCE)}


def _serve(listening: socket.socket) -> dict:
    """Fork for every request that can be answered; returns in each fork, with the request."""
    while sys.stdin.fileno() not in select.select([listening, sys.stdin.fileno()], [], [])[0]:
        _forget_the_ended()
        asking = listening.accept()[0]
        request, streams = _received(asking)
        if request is None or not _can_answer(request):
            asking.sendall(b"no\n")
        elif not os.fork():
            listening.close()
            if _watched(asking):
                _become(request, streams)
                return request
        asking.close()
        for one in streams:
            os.close(one)
    _forget_the_ended()
    sys.exit()


def _forget_the_ended() -> None:
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _received(asking: socket.socket) -> tuple[dict | None, array.array]:
    streams = array.array("i")
    text, passed, _, _ = asking.recvmsg(_MOST, socket.CMSG_SPACE(3 * streams.itemsize))
    for _, _, given in passed:
        streams.frombytes(given)
    while text and not text.endswith(b"\n"):
        more = asking.recv(_MOST)
        text = text + more if more else b""
    return (json.loads(text) if text else None), streams


def _can_answer(request: dict) -> bool:
    first = request["arguments"][:1]
    return _read_once(request["environment"]) == _read_once(dict(os.environ)) and (
        bool(first) and (first[0] in ("-c", "-m") or not first[0].startswith("-"))
    )


def _watched(asking: socket.socket) -> bool:
    """Whether this is the command; the other of the two tells its status, and ends it if nobody asks any more."""
    command = os.fork()
    if command == 0:
        asking.close()
        return True
    ended = os.pidfd_open(command)
    if ended not in select.select([ended, asking], [], [])[0]:
        os.kill(command, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(command, 0)[1])
    try:
        asking.sendall(f"{status}\n".encode())
    finally:
        os._exit(0)


def _become(request: dict, streams: array.array) -> None:
    """Take over what a process has from the one that starts it."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    sys.stdin, sys.stdout, sys.stderr = (
        open(number, mode, 1 if number == 2 or os.isatty(number) else -1, closefd=False)  # noqa: SIM115
        for number, mode in enumerate(("r", "w", "w"))
    )
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])


def _run(arguments: list[str]) -> None:
    """What Python does with its arguments, of which the first is one that `_can_answer`."""
    first, *rest = arguments
    if first == "-m":
        sys.argv, sys.path[0] = rest, str(Path.cwd())
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
        return
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    if first == "-c":
        text, name = rest.pop(0), "<string>"
        sys.path[0] = ""
    else:
        main.__file__ = name = first
        text = Path(first).read_bytes()
        sys.path[0] = str(Path(first).resolve().parent)
    sys.argv = [first, *rest]
    exec(compile(text, name, "exec"), main.__dict__)


def _stand(number: int) -> None:
    for name in _IMPORTED:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    request = _serve(socket.socket(fileno=number))
    try:
        _run(request["arguments"])
    except Exception as error:
        error.with_traceback(error.__traceback__.tb_next.tb_next)
        sys.excepthook(type(error), error, error.__traceback__)
        sys.exit(1)


if __name__ == "__main__":
    _stand(int(sys.argv[1]))
