"""Reads MLIR locations: the name stack and the user's file and line that jax wrote there.

jax writes `"jit(step)/jvp(layer_3)/dot_general"(callsite("block"("train.py":4:27) at ...))`: a name, which is the
stack of scopes with the primitive last, around the Python frames, innermost first.
"""

from collections.abc import Iterator

from atoll.compiler.mlir.bindings import ir
from atoll.compiler.source_line import SourceLine
from atoll.compiler.tracebacks import is_launcher, is_library


def name_stack(location: ir.Location) -> str:
    """The outermost name: `jit(step)/jvp(layer_3)/dot_general`; empty if there is none."""
    left = [location]
    while left:
        one = left.pop()
        if isinstance(one, ir.NameLoc):
            # Around some stacks jax writes the primitive: `"pure_callback:"("jit(f)/layer/pure_callback")`.
            if one.name_str.endswith(":") and isinstance(one.child_loc, ir.NameLoc):
                left.append(one.child_loc)
                continue
            return one.name_str
        if isinstance(one, ir.CallSiteLoc):
            left.append(one.callee)
        elif isinstance(one, ir.FusedLoc):
            left += reversed(_parts(one))
    return ""


def frames(location: ir.Location) -> Iterator[ir.FileLineColLoc]:
    """The files and lines of a location, innermost frame first.

    Without recursion: a chain of inlined calls may be deeper than Python's stack.
    """
    left = [location]
    while left:
        one = left.pop()
        if isinstance(one, ir.FileLineColLoc):
            yield one
        elif isinstance(one, ir.NameLoc):
            left.append(one.child_loc)
        elif isinstance(one, ir.CallSiteLoc):
            left += (one.caller, one.callee)
        elif isinstance(one, ir.FusedLoc):
            left += reversed(_parts(one))


def user_frame(location: ir.Location) -> ir.FileLineColLoc | None:
    """The line that a user looks for: the innermost frame outside of installed libraries, or else the innermost.

    A constant that jax has hoisted is at the call that had the function traced. If a command called, that is its
    script, which says nothing to anybody.
    """
    found = [frame for frame in frames(location) if not is_launcher(frame.filename)]
    return next((frame for frame in found if not is_library(frame.filename)), found[0] if found else None)


def place(location: ir.Location) -> str:
    """The user's frame as `train.py:12`; empty if the location is unknown."""
    frame = user_frame(location)
    if frame is None:
        return ""
    if not frame.start_line:  # a module as a whole
        return frame.filename
    where = f"{frame.filename}:{frame.start_line}"
    if not is_range(frame):
        return SourceLine(where, frame.start_col - 1, frame.start_col) if frame.start_col else where
    return SourceLine(where, frame.start_col, frame.end_col if frame.end_line == frame.start_line else None)


def is_range(frame: ir.FileLineColLoc) -> bool:
    """Whether a frame says where it ends. jax's do, and count columns from 0; those of IR text count from 1."""
    return (frame.end_line, frame.end_col) != (frame.start_line, frame.start_col)


def within_call(inner: ir.Location, call: ir.Location) -> ir.Location:
    """The location of an operation that moves from a callee to a call site: stacks and frames joined.

    The shared private functions that jax makes (`_where`, `tril`) carry no scopes of their own; the call does.
    """
    inner_frames, call_frames = _without_name(inner), _without_name(call)
    if isinstance(inner_frames, ir.UnknownLoc):
        joined = call_frames
    elif isinstance(call_frames, ir.UnknownLoc):
        joined = inner_frames
    else:
        joined = ir.Location.callsite(inner_frames, [call_frames])
    stack = "/".join(filter(None, (name_stack(call), name_stack(inner))))
    return ir.Location.name(stack, joined) if stack else joined


def in_iteration(inner: ir.Location, loop: ir.Location, number: int) -> ir.Location:
    """The location of an operation of a loop's body that stands for one iteration, as if it had a scope of its own:
    `layers/3/tanh` for `layers/while/body/tanh`."""
    stack, around = name_stack(inner), name_stack(loop)
    if not stack.startswith(f"{around}/body/"):
        return inner
    scopes = (around.rpartition("/")[0], str(number), stack.removeprefix(f"{around}/body/"))
    return ir.Location.name("/".join(filter(None, scopes)), _without_name(inner))


def unframed(location: ir.Location) -> ir.Location:
    """The name stack alone."""
    unknown = ir.Location.unknown()
    stack = name_stack(location)
    return ir.Location.name(stack, unknown) if stack else unknown


def _without_name(location: ir.Location) -> ir.Location:
    return location.child_loc if isinstance(location, ir.NameLoc) else location


def _parts(location: ir.FusedLoc) -> list[ir.Location]:
    return [part for part in location.locations if isinstance(part, ir.Location)]  # all are; the stub says object
