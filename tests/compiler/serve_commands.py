"""Runs commands of atoll in this process, one a line of standard input, for `test_fuzz.py`.

A request is a line of JSON: the arguments, and standard input in base64. The answer is a line of JSON: exit status,
output and errors. A command that ends the process ends this one; whoever reads the answers sees that.
"""

import base64
import contextlib
import io
import json
import sys

from atoll.compiler.commands.cli import run_here


def answer(request: dict) -> dict:
    output, errors = io.StringIO(), io.StringIO()
    sys.stdin = io.TextIOWrapper(io.BytesIO(base64.b64decode(request["input"])))
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        try:
            status = run_here(request["arguments"])
        except SystemExit as stop:
            status = stop.code
    return {"status": status, "output": output.getvalue(), "errors": errors.getvalue()}


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), file=sys.__stdout__, flush=True)
