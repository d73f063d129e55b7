"""The one door to jaxlib's MLIR and to private names of jax.

Everything else imports from here, so that a new release of jax breaks this file or nothing.
`tests/compiler/test_mlir.py` lists the names that are needed. Importing this file does not import jax.
"""

import functools
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# What `import jax` does too, and what has to be done before the library is loaded: only warnings on standard error.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")

from jaxlib.mlir import ir
from jaxlib.mlir._mlir_libs import _jax_mlir_ext
from jaxlib.mlir.dialects import builtin, chlo, func, mpmd, sdy, stablehlo
from jaxlib.mlir.passmanager import ExternalPass, PassManager

__all__ = [
    "ExternalPass",
    "PassManager",
    "builtin",
    "chlo",
    "copier",
    "func",
    "hide_own_frames",
    "ir",
    "mpmd",
    "native_stderr",
    "new_context",
    "sdy",
    "stablehlo",
]


def new_context() -> ir.Context:
    """A context with every dialect an atoll module may hold, and with the native passes registered.

    One thread: native passes that ran on several would report errors through Python from threads that wait for
    the interpreter, and the order of diagnostics would change from run to run.
    """
    context = ir.Context()
    registry = ir.DialectRegistry()
    _jax_mlir_ext.register_dialects(registry)
    context.append_dialect_registry(registry)
    context.load_all_available_dialects()
    for dialect in (stablehlo, chlo, sdy, mpmd):
        dialect.register_dialect(context)
    _register_native_passes()
    context.enable_multithreading(False)
    return context


@functools.cache
def _register_native_passes() -> None:
    """`stablehlo-*` and `vhlo-*`; importing the bindings has registered the rest. A second call would abort."""
    stablehlo.register_stablehlo_passes()


@contextmanager
def native_stderr() -> Iterator[Callable[[], str]]:
    """Collect what native code writes to standard error: MLIR's option parser tells there why it fails."""
    sys.stderr.flush()
    before = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)

        def told() -> str:
            file.seek(0)
            return file.read().decode(errors="replace")

        try:
            yield told
        finally:
            os.dup2(before, 2)
            os.close(before)


@functools.cache
def hide_own_frames() -> None:
    """Keep atoll's own frames out of the locations that jax writes: the outermost frame is then the user's."""
    from jax._src import source_info_util

    package = Path(__file__).resolve().parents[2]
    # The front door is beside the other folders in the repository, and above them where atoll is installed.
    for own in ("compiler/", "passes/", "runtime/", "atoll/", "__init__.py", "__main__.py"):
        source_info_util.register_exclusion(f"{package}/{own}")


@contextmanager
def own_traces() -> Iterator[None]:
    """Have jax trace anew what it would else take from an earlier trace, with the lines of another function in it.

    Rules of jax's own (the lowering of a scan, derivatives) call jitted functions of jax on behalf of a line of the
    user's. How these were traced is kept, by function and shapes, and with it the line that was the first to need it.

    A cache for jitted calls is a part of the key by which all traces are kept, and changes nothing else: within a new
    one nothing is found. In the end the new traces are forgotten, as nothing will find them either. So are other traces
    of the same functions, but none of what was compiled: a call as any before it runs as before.
    """
    from jax._src import config, pjit
    from jax._src.interpreters import partial_eval
    from jaxlib import _jax

    key = _jax.PjitFunctionCache()
    try:
        with config.jax_jit_cpp_cache_obj(key):
            yield
    finally:
        for cache in (partial_eval.trace_to_jaxpr, pjit._infer_params_cached):
            for function, context, *_ in cache.cache_keys():
                traced = function()
                if traced is not None and any(one is key for one in context):
                    cache.evict_weakref(traced)


def host_callbacks(lowered: Any) -> tuple[Callable[..., Any], ...]:  # noqa: ANN401 (a `jax.stages.Lowered`)
    """The Python functions that a lowered function calls while it runs, by the numbers that its calls have."""
    return tuple(lowered._lowering.compile_args["host_callbacks"])


def copier(sharding: Any) -> Callable[[Any], Any]:  # noqa: ANN401 (a jax sharding on one device; jax arrays)
    """What copies an array from one device to another one, and returns before it is there.

    It is what `jax.device_put` does in the end. The questions that it asks before take five times as long.
    """
    import jax
    from jaxlib import xla_client

    try:
        copy, always = xla_client.batched_copy_array_to_devices_with_sharding, xla_client.ArrayCopySemantics.ALWAYS_COPY
        devices = sharding._internal_device_list
    except AttributeError:
        return lambda array: jax.device_put(array, sharding)
    return lambda array: copy([array], [devices], [sharding], [always])[0]


def requires_devices(traced: Any) -> bool:  # noqa: ANN401 (a `jax.stages.Traced`)
    """Whether jax lowers a traced function with shardings only for a mesh of devices, as it calls the host."""
    from jax._src import dispatch

    return bool(dispatch.jaxpr_has_prim_requiring_devices(traced.jaxpr.jaxpr))


def calls_for_devices(traced: Any) -> Iterator[tuple[str, list[tuple[str, int]]]]:  # noqa: ANN401 (as above)
    """What jax lowers only where there are devices: calls of the host and their kin.

    Each with its name and the files and lines that it was traced at, the innermost first, without those of jax.
    """
    from jax._src import core, dispatch, source_info_util

    def found_in(jaxpr: Any) -> Iterator[tuple[str, list[tuple[str, int]]]]:  # noqa: ANN401 (a `jax.core.Jaxpr`)
        for equation in jaxpr.eqns:
            primitive = equation.primitive
            # For calls that only show something jax has ways without devices, if they are of the platform.
            if primitive in dispatch.prim_requires_devices_during_lowering or primitive.name.startswith("debug_"):
                frames = source_info_util.user_frames(equation.source_info.traceback)
                yield primitive.name, [(frame.file_name, frame.start_line) for frame in frames]
            for inner in core.jaxprs_in_params(equation.params):
                yield from found_in(inner)

    return found_in(traced.jaxpr.jaxpr)


def backends_are_up() -> bool:
    """Whether jax has looked for its devices, after which their number is settled."""
    from jax._src import xla_bridge

    return xla_bridge.backends_are_initialized()
