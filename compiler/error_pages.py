"""What docs/errors.md says of an error: the heading there that belongs to the part of atoll that has noticed it."""

import traceback
from fnmatch import fnmatch
from pathlib import Path
from types import TracebackType

PAGE = "docs/errors.md"

# The heading for what a file raises; the first pattern that fits decides. What stands in none of these is used by
# several of them, or has no heading here, and the file that has called it decides.
HEADINGS = (
    ("checkpoint/*", "checkpoints"),
    ("compiler/ahead/*", "memory"),
    ("compiler/batch_rules/*", "batch"),
    ("compiler/cluster.py", "processes"),
    ("compiler/commands/*", "command-line"),
    ("compiler/compiled*.py", "calls"),
    ("compiler/conversion.py", "calls"),
    ("compiler/debug_flags.py", "running"),
    ("compiler/export/calling.py", "calls"),
    ("compiler/export/feed.py", "calls"),
    ("compiler/export/frontend.py", "tracing"),
    ("compiler/export/pytree_text.py", "saved-programs"),
    ("compiler/export/*", "arguments"),
    ("compiler/files.py", "command-line"),
    ("compiler/inspectable.py", "ir"),
    ("compiler/lowered.py", "arguments"),
    ("compiler/module/memories.py", "memory"),
    ("compiler/module/replicas.py", "plan"),
    ("compiler/pipeline/dump_folder.py", "command-line"),
    ("compiler/pipeline/*", "ir"),
    ("compiler/mlir/ir_text.py", "ir"),
    ("compiler/mlir/resources.py", "ir"),
    ("compiler/plan/*", "plan"),
    ("compiler/planner/*", "plan"),
    ("compiler/report/report.py", "plan"),
    ("compiler/saving.py", "saved-programs"),
    ("compiler/scaling/*", "command-line"),
    ("compiler/schedules/*", "schedules"),
    ("compiler/topology/devices.py", "devices"),
    ("compiler/topology/slices.py", "devices"),
    ("compiler/topology/*", "topology"),
    ("compiler/view/*", "command-line"),
    ("passes/normalize/*", "ir"),
    ("passes/place/*", "stages"),
    ("passes/schedule/*", "schedules"),
    ("passes/stage/*", "stages"),
    ("passes/time/*", "batch"),
    ("runtime/arguments.py", "calls"),
    ("runtime/compilation.py", "compiling"),
    ("runtime/controller.py", "calls"),
    ("runtime/donated.py", "calls"),
    ("runtime/fed.py", "calls"),
    ("runtime/feeder.py", "calls"),
    ("runtime/ground.py", "devices"),
    ("runtime/hosted_islands.py", "compiling"),
    ("runtime/keeping/*", "processes"),
    ("runtime/leaves.py", ""),
    ("runtime/processes/*", "processes"),
    ("runtime/program_file.py", "saved-programs"),
    ("runtime/*", "running"),
)

_ROOT = Path(__file__).resolve().parent.parent


def heading_of(trace: TracebackType | None) -> str | None:
    """The heading for an exception that came this way: its innermost frame that stands in the table decides."""
    for frame, _ in reversed(list(traceback.walk_tb(trace))):
        file = Path(frame.f_code.co_filename)
        if file.is_relative_to(_ROOT) and (found := heading_of_file(file.relative_to(_ROOT).as_posix())):
            return found
    return None


def heading_of_file(path: str) -> str | None:
    """The heading for what a file raises, by its path in the package."""
    return next((heading for pattern, heading in HEADINGS if fnmatch(path, pattern)), None)
