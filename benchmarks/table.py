"""Runs the benchmarks, and makes one table of what they find, with ratios: `make bench`.

    python benchmarks/table.py --only step compile_beside_jit
    python benchmarks/table.py --only step --rival jaxpp=../jaxpp/.venv/bin/python

What each script prints goes to standard error as it comes, the table to standard output when all have ended. A row has
what atoll takes, what something else takes in the same run, and how many times as long atoll takes: less is better in
every row. `--json` writes the same, with the machine, the versions and the date. The status is 1 if a script missed a
limit of its own, or failed; the last lines name it.

A rival is another system with a Python of its own: `rivals/` says what to install there.
"""

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from atoll.compiler.doctor.requirements import installed
from rows import FILE, Row, told

HERE = Path(__file__).resolve().parent
# Those that a user waits for come first, then what they are made of. Each is a script of this folder.
SCRIPTS = (
    "step",
    "compile_beside_jit",
    "controller_overhead",
    "small_computations",
    "between_processes",
    "pipeline_dispatch",
    "pipeline_step",
    "predicted_beside_measured",
    "predicted_on_cpus",
    "replica_overlap",
    "schedule_delay",
    "schedule_16x512",
    "compile_time",
    "compile_fragments",
    "microbatch_count",
    "opt_100k",
    "palm_sizes",
    "chip_peaks",
    "help_time",
)
NEEDS = {"chip_peaks": "libtpu"}  # what a script needs that tests do not
_PATIENCE = 1800.0  # seconds for one script


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=SCRIPTS, default=SCRIPTS, help="these scripts alone")
    parser.add_argument("--rival", metavar="NAME=PYTHON", action="append", default=[], help="to run `step` on as well")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the table there too")
    options = parser.parse_args()
    rivals = [argument for one in options.rival for argument in ("--rival", one)]
    found, failed, left_out = dict[str, list[Row]](), list[str](), list[str]()
    for name in options.only:
        if name in NEEDS and find_spec(NEEDS[name]) is None:
            left_out.append(f"{name} was left out: it needs {NEEDS[name]}, which is not installed")
            continue
        print(f"\n{name}", file=sys.stderr, flush=True)
        status, found[name] = rows_of(name, rivals if name == "step" else [])
        if status:
            failed.append(f"{name} ended with status {status}")
    print(text_of(found), *left_out, *failed, sep="\n")
    if options.json is not None:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(plain(found, failed), indent=1) + "\n")
    return int(bool(failed))


def rows_of(name: str, arguments: Sequence[str]) -> tuple[int | str, list[Row]]:
    """How a script ended, and its rows."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "rows"
        file.touch()
        command = [sys.executable, str(HERE / f"{name}.py"), *arguments]
        try:
            status: int | str = subprocess.run(
                command, stdout=sys.stderr, env={**os.environ, FILE: str(file)}, timeout=_PATIENCE, check=False
            ).returncode
        except subprocess.TimeoutExpired:
            status = f"nothing after {_PATIENCE:.0f} s"
        return status, told(file)


def text_of(found: Mapping[str, Sequence[Row]]) -> str:
    """A line for each pair of what atoll takes and what something else does."""
    lines = [("benchmark", "case", "atoll", "beside", "", "ratio")]
    for name, rows in found.items():
        for row in rows:
            value = f"{figure(row.value)} {row.unit}"
            lines += [
                (name, row.case, value, other, f"{figure(its)} {row.unit}", f"{row.ratio(other):.2f}")
                for other, its in row.beside.items()
            ] or [(name, row.case, value, "", "", "")]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    numbers = (2, 4, 5)  # the columns that stand to the right
    return "\n".join(
        "  ".join(
            cell.rjust(width) if index in numbers else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def figure(number: float) -> str:
    """Three digits, or all of a large number's instead of an exponent."""
    return f"{number:.0f}" if number >= 1000 else f"{number:.3g}"


def plain(found: Mapping[str, Sequence[Row]], failed: Sequence[str]) -> dict[str, Any]:
    version, requirements = installed()
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": {"system": platform.platform(terse=True), "processor": processor(), "cores": os.cpu_count()},
        "versions": {"python": platform.python_version(), "atoll": version}
        | {one.name: one.version for one in requirements},
        "rows": [asdict(row) | {"benchmark": name} for name, rows in found.items() for row in rows],
        "failed": list(failed),
    }


def processor() -> str:
    """What the system calls it; empty where it does not say."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


if __name__ == "__main__":
    sys.exit(main())
