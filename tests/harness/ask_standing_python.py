"""A command that a Python runs which stands by: see `standing_python.py`. Imports as little as it can."""

import array
import json
import os
import socket
import sys

place, *arguments = sys.argv[1:]
STATUS_OF_A_SIGNAL = 128  # as shells tell it


def answer() -> str:
    """The exit status, negative for a signal, or nothing if it must be started here."""
    with socket.socket(socket.AF_UNIX) as asking:
        asking.connect(place)
        folder = os.getcwd()  # noqa: PTH109 (pathlib would have to be imported)
        request = {"arguments": arguments, "environment": dict(os.environ), "folder": folder}
        streams = socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0, 1, 2])
        text = json.dumps(request).encode() + b"\n"
        sent = asking.sendmsg([text], [streams])
        asking.sendall(text[sent:])
        return asking.makefile().readline().strip()


try:
    told = answer()
except OSError:
    told = ""
if told in ("", "no"):
    os.execv(sys.executable, [sys.executable, *arguments])
status = int(told)
sys.exit(status if status >= 0 else STATUS_OF_A_SIGNAL - status)
