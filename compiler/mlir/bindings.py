"""The one door to jaxlib's MLIR and to private names of jax.

Everything else imports them from here, so that a new release of jax breaks this file or nothing.
`tests/compiler/test_mlir.py` lists the names that are needed. Importing this file does not import jax.
"""

import functools
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# Nothing less than a warning goes to standard error. `import jax` sets this too, and it counts only before the library
# is loaded.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")

from jaxlib.mlir import ir
from jaxlib.mlir._mlir_libs import _jax_mlir_ext
from jaxlib.mlir.dialects import builtin, chlo, func, mpmd, sdy, stablehlo
from jaxlib.mlir.passmanager import ExternalPass, PassManager

__all__ = [
    "ExternalPass",
    "PassManager",
    "builtin",
    "caller",
    "chlo",
    "copier",
    "func",
    "hide_own_frames",
    "initialize_lapack",
    "ir",
    "mpmd",
    "native_stderr",
    "new_context",
    "placer",
    "sdy",
    "stablehlo",
]


def new_context() -> ir.Context:
    """A context that knows every dialect an atoll module may hold, and with the native passes registered.

    What passes write is loaded; the rest is when a module that has it is parsed. To load all of it takes ten times as
    long, and every module that is copied has a context of its own, as has every task that is compiled.

    One thread: native passes that ran on several would report errors through Python from threads that wait for
    the interpreter, and the order of diagnostics would change from run to run.
    """
    context = ir.Context()
    context.append_dialect_registry(_known_dialects())
    for dialect in (stablehlo, chlo, sdy, mpmd):
        dialect.register_dialect(context)
    context.get_dialect_descriptor("func")
    _register_native_passes()
    context.enable_multithreading(False)
    return context


@functools.cache
def _known_dialects() -> ir.DialectRegistry:
    registry = ir.DialectRegistry()
    _jax_mlir_ext.register_dialects(registry)
    return registry


@functools.cache
def _register_native_passes() -> None:
    """Register `stablehlo-*` and `vhlo-*`; importing the bindings registers the rest. A second call would abort."""
    stablehlo.register_stablehlo_passes()


@contextmanager
def native_stderr() -> Iterator[Callable[[], str]]:
    """Collect what native code writes to standard error: only there does MLIR's option parser say why it fails."""
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
    # The package's own modules are in `atoll/` in the repository; where atoll is installed, they are above the others.
    for own in ("compiler/", "passes/", "runtime/", "atoll/", "__init__.py", "__main__.py"):
        source_info_util.register_exclusion(f"{package}/{own}")


@contextmanager
def own_traces() -> Iterator[None]:
    """Have jax trace anew what it would otherwise take from an earlier trace, with the lines of another function in it.

    Rules of jax's own (the lowering of a scan, derivatives) call jitted functions of jax on behalf of a line of the
    user's. jax keeps their traces, by function and shapes, and with each the line that was the first to need it.

    The cache for jitted calls is part of the key by which all traces are kept, and changes nothing else: under a new
    one, no earlier trace is found. Afterwards the new traces are forgotten, as nothing would find them again. Other
    traces of the same functions go with them, but nothing that was compiled: calls made before still run as before.
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
    """The Python functions that a lowered function calls while it runs; its calls have their numbers in this order."""
    return tuple(lowered._lowering.compile_args["host_callbacks"])


# The files and lines at which something was traced, innermost first, without those of jax.
Places = list[tuple[str, int]]


def caller(compiled: Any) -> Callable[..., Any]:  # noqa: ANN401 (a `jax.stages.Compiled`)
    """What calls a compiled function.

    `jax.stages.Compiled` does the same in the end, by a method in Python that takes a fifth of the time of the call.
    """
    try:
        call: Callable[..., Any] | None = compiled._executable.create_cpp_call(compiled._params)
    except AttributeError:
        call = None
    # Of what calls Python there is none.
    return call or compiled


def copier(sharding: Any) -> Callable[[Any], Any]:  # noqa: ANN401 (a jax sharding on one device; jax arrays)
    """A function that copies an array to another device, and returns before it is there.

    `jax.device_put` does the same in the end, after checks that take five times as long.
    """
    import jax
    from jaxlib import xla_client

    try:
        copy, always = xla_client.batched_copy_array_to_devices_with_sharding, xla_client.ArrayCopySemantics.ALWAYS_COPY
        devices = sharding._internal_device_list
    except AttributeError:
        return lambda array: jax.device_put(array, sharding)
    return lambda array: copy([array], [devices], [sharding], [always])[0]


def placer(
    sharding: Any,  # noqa: ANN401 (a jax sharding)
    devices: list[Any],
    shape: tuple[int, ...],
    dtype: Any,  # noqa: ANN401 (numpy's)
) -> Callable[[list[Any]], Any]:
    """A function that puts numbers onto devices, which are all that the sharding has in this process.

    They keep their type, whether 64 bits are enabled or not. `jax.device_put` does the same in the end, after checks
    that take nine times as long; and for who guards transfers this one is asked for in so many words, as that is.
    """
    import jax
    from jaxlib import _jax

    try:
        from jax._src.lib import guard_lib

        settings = guard_lib.thread_local_state
        is_known = hasattr(_jax, "batched_device_put") and hasattr(settings(), "explicit_device_put")
    except ImportError:
        is_known = False
    is_on_host = sharding.memory_kind not in (None, "device")
    space = jax.memory.Space.Host if is_on_host else jax.memory.Space.Device
    aval = jax.core.ShapedArray(shape, dtype, memory_space=space)

    def place(numbers: list[Any]) -> Any:  # noqa: ANN401 (a jax array)
        own = settings()
        before, own.explicit_device_put = own.explicit_device_put, True
        try:
            return _jax.batched_device_put(aval, sharding, numbers, devices, True)
        finally:
            own.explicit_device_put = before

    def place_slowly(numbers: list[Any]) -> Any:  # noqa: ANN401 (as above)
        with jax.enable_x64(True):
            places = [jax.sharding.SingleDeviceSharding(one, memory_kind=sharding.memory_kind) for one in devices]
            parts = jax.device_put(numbers, places)
            return jax.make_array_from_single_device_arrays(shape, sharding, parts)

    return place if is_known else place_slowly


def initialize_lapack() -> None:
    """Load the library for linear algebra on CPUs. jax does so when it lowers a function that calls it; the call of a
    module that was lowered elsewhere would end the process."""
    import numpy
    from jaxlib import lapack

    # Whatever is asked for, it loads all.
    lapack.prepare_lapack_call("potrf_ffi", numpy.dtype("float32"))  # type: ignore[no-untyped-call] # jax's


def requires_devices(traced: Any) -> bool:  # noqa: ANN401 (a `jax.stages.Traced`)
    """Whether jax lowers a traced function with shardings only for a mesh of devices, because it calls the host."""
    from jax._src import dispatch

    return bool(dispatch.jaxpr_has_prim_requiring_devices(traced.jaxpr.jaxpr))


def calls_for_devices(traced: Any) -> Iterator[tuple[str, Places]]:  # noqa: ANN401 (as above)
    """What jax lowers only where there are devices, calls of the host and the like: their names and places."""
    from jax._src import dispatch

    for equation in _equations(traced.jaxpr.jaxpr):
        primitive = equation.primitive
        # Calls that only show something can be lowered without devices, if devices of the platform are here.
        if primitive in dispatch.prim_requires_devices_during_lowering or primitive.name.startswith("debug_"):
            yield primitive.name, _places(equation)


def memories_asked_for(traced: Any) -> Iterator[tuple[str, Places]]:  # noqa: ANN401 (as above)
    """The kinds of memory that `jax.device_put` and constraints of shardings ask for, and the places of each."""
    for equation in _equations(traced.jaxpr.jaxpr):
        # Of a constraint the sharding; of `device_put` one for each value.
        for asked in (equation.params.get("sharding"), *equation.params.get("devices", ())):
            kind = getattr(asked, "memory_kind", None)
            if kind is not None:
                yield kind, _places(equation)


def _equations(jaxpr: Any) -> Iterator[Any]:  # noqa: ANN401 (a `jax.core.Jaxpr`, and its equations)
    from jax._src import core

    for equation in jaxpr.eqns:
        yield equation
        for inner in core.jaxprs_in_params(equation.params):
            yield from _equations(inner)


def _places(equation: Any) -> Places:  # noqa: ANN401 (as above)
    from jax._src import source_info_util

    frames = source_info_util.user_frames(equation.source_info.traceback)
    return [(frame.file_name, frame.start_line) for frame in frames]


def is_literal(operand: Any) -> bool:  # noqa: ANN401 (of a `jax.core.JaxprEqn`)
    """Whether an operand is a number that stands in the program."""
    from jax._src import core

    return isinstance(operand, core.Literal)


def lines_of(equation: Any) -> list[tuple[str, int, int]]:  # noqa: ANN401 (a `jax.core.JaxprEqn`)
    """The files, lines and columns at which an operation was traced, innermost first, without those of jax."""
    from jax._src import source_info_util

    frames = source_info_util.user_frames(equation.source_info.traceback)
    return [(frame.file_name, frame.start_line, frame.start_column) for frame in frames]


@contextmanager
def traced_as(equation: Any, named: Any) -> Iterator[None]:  # noqa: ANN401 (as above; a name stack of jax's or None)
    """Have jax say that what is traced comes from where an operation does. named: the name stack around that."""
    from jax._src import source_info_util

    own = equation.source_info
    stack = own.name_stack if named is None else named + own.name_stack
    stack = source_info_util.current_name_stack() + stack
    with source_info_util.user_context(own.traceback, name_stack=stack), equation.ctx.manager:
        yield


def run_equation(equation: Any, named: Any, arrays: Sequence[Any]) -> list[Any]:  # noqa: ANN401 (as above)
    """Do an operation once more. arrays: its operands that are no literals, each once."""
    rest = iter(arrays)
    values = {one: next(rest) for one in dict.fromkeys(one for one in equation.invars if not is_literal(one))}
    operands = [one.val if is_literal(one) else values[one] for one in equation.invars]
    with traced_as(equation, named):
        made = equation.primitive.bind(*operands, **equation.primitive.get_bind_params(equation.params))
    return list(made) if equation.primitive.multiple_results else [made]


def scan_counts(params: dict[str, Any]) -> tuple[int, int]:
    """How many operands of a `jax.lax.scan` are constants, and how many it carries."""
    if "ft_in" in params:  # since jax 0.12
        constants, carried, _ = params["ft_in"].unpack()
        return len(constants), len(carried)
    return params["num_consts"], params["num_carry"]


@functools.cache
def hush_libtpu() -> None:
    """Where there are no TPUs, tell libtpu what it would otherwise ask for, and complain that nobody answers.

    It is asked as soon as jax starts, wherever it is installed. Nothing that is said here changes what it compiles.
    """
    from jax._src import hardware_utils

    chips, _ = hardware_utils.num_available_tpu_chips_and_device_id()  # type: ignore[no-untyped-call] # jax's
    if not chips:
        os.environ["TPU_SKIP_MDS_QUERY"] = "1"
        os.environ.setdefault("TPU_ACCELERATOR_TYPE", "v4-8")
        os.environ.setdefault("TPU_WORKER_HOSTNAMES", "localhost")
        os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")  # there are no chips to keep for one process


def backends_are_up() -> bool:
    """Whether jax has looked for its devices; from then on their number is settled."""
    from jax._src import xla_bridge

    return xla_bridge.backends_are_initialized()


def cpu_devices_to_come() -> int:
    """How many CPU devices jax makes when it starts; its own setting takes precedence over XLA's."""
    import jax

    configured: int = jax.config.values["jax_num_cpu_devices"]
    flag = re.search(r"--xla_force_host_platform_device_count=(\d+)", os.environ.get("XLA_FLAGS", ""))
    return configured if configured >= 0 or flag is None else int(flag[1])
