"""What atoll needs of jax and jaxlib beyond their public interface. A new release that breaks this breaks atoll here.

When a name is gone, `compiler/mlir/bindings.py` is what to change; or for the lowering of fragments
`runtime/fragment.py`, and for what they are compiled to `compiler/mlir/binary.py`.
"""

import ast
import functools
import importlib
import inspect
import os
from pathlib import Path

import pytest
from atoll.compiler.mlir import binary
from atoll.compiler.mlir import bindings as mlir
from atoll.compiler.mlir.bindings import PassManager, ir, native_stderr, new_context
from atoll.compiler.mlir.ir_text import parse_text

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(
    path
    for folder in ("atoll", "checkpoint", "compiler", "passes", "runtime")
    for path in (ROOT / folder).rglob("*.py")
)

# Module, what is read from it, and what does not work without it.
NEEDED = [
    ("jaxlib.mlir._mlir_libs._jax_mlir_ext", "register_dialects", "no context knows jax's dialects"),
    ("jaxlib.xla_client", "batched_copy_array_to_devices_with_sharding", "small transfers take twice as long"),
    ("jaxlib.xla_client", "ArrayCopySemantics.ALWAYS_COPY", "small transfers take twice as long"),
    ("jaxlib.lapack", "prepare_lapack_call", "linear algebra of a module that was lowered elsewhere ends the process"),
    ("jaxlib._jax", "batched_device_put", "values from other processes take nine times as long to place"),
    ("jax._src.source_info_util", "register_exclusion", "locations end in atoll's own frames"),
    ("jax._src.config", "jax_jit_cpp_cache_obj", "errors have the lines of other programs"),
    ("jax._src.interpreters.partial_eval", "trace_to_jaxpr.cache_keys", "every compilation takes memory for good"),
    ("jax._src.interpreters.partial_eval", "trace_to_jaxpr.evict_weakref", "every compilation takes memory for good"),
    ("jax._src.pjit", "_infer_params_cached.cache_keys", "every compilation takes memory for good"),
    ("jax._src.pjit", "_infer_params_cached.evict_weakref", "every compilation takes memory for good"),
    ("jaxlib._jax", "PjitFunctionCache", "errors have the lines of other programs"),
    ("jaxlib.mlir.dialects.chlo", "register_dialect", "CHLO operations do not parse"),
    ("jaxlib.mlir.dialects.mpmd", "register_dialect", "the placed phase does not parse"),
    ("jaxlib.mlir.dialects.sdy", "register_dialect", "shardings do not parse"),
    ("jaxlib.mlir.dialects.stablehlo", "register_dialect", "nothing parses"),
    ("jaxlib.mlir.dialects.stablehlo", "register_stablehlo_passes", "there are no stablehlo-* passes"),
    ("jaxlib.mlir.dialects.func", "CallOp", "calls are not found, and so not inlined"),
    ("jaxlib.mlir.dialects.func", "FuncOp", "functions are not found"),
    ("jaxlib.mlir.passmanager", "ExternalPass.signal_pass_failure", "a pass of ours cannot fail"),
    ("jaxlib.mlir.passmanager", "PassManager.add", "passes of ours cannot be run"),
    ("jaxlib.mlir.passmanager", "PassManager.parse", "native passes cannot be run"),
    ("jaxlib.mlir.passmanager", "PassManager.run", "no pass can be run"),
    ("jaxlib.mlir.passmanager", "PassManager.enable_timing", "--timing does not work"),
    ("jaxlib.mlir.ir", "Context.append_dialect_registry", "no context knows jax's dialects"),
    ("jaxlib.mlir.ir", "Context.attach_diagnostic_handler", "errors have no place"),
    ("jaxlib.mlir.ir", "Context.emit_error_diagnostics", "errors have no place"),
    ("jaxlib.mlir.ir", "Context.enable_multithreading", "the order of diagnostics changes from run to run"),
    ("jaxlib.mlir.ir", "Context.is_registered_operation", "a pipeline may name operations that do not exist"),
    ("jaxlib.mlir.ir", "Context.load_all_available_dialects", "no context knows jax's dialects"),
    ("jaxlib.mlir.ir", "Diagnostic.notes", "notes of errors are lost"),
    ("jaxlib.mlir.ir", "DiagnosticHandler.detach", "errors have no place"),
    ("jaxlib.mlir.ir", "Location.emit_error", "--verify-diagnostics sees no refusals"),
    ("jaxlib.mlir.ir", "FileLineColLoc.start_line", "errors have no line"),
    ("jaxlib.mlir.ir", "FileLineColLoc.start_col", "errors have no column"),
    ("jaxlib.mlir.ir", "NameLoc.name_str", "there are no scopes"),
    ("jaxlib.mlir.ir", "NameLoc.child_loc", "errors have no line"),
    ("jaxlib.mlir.ir", "CallSiteLoc.callee", "errors have no line"),
    ("jaxlib.mlir.ir", "CallSiteLoc.caller", "errors have no line"),
    ("jaxlib.mlir.ir", "FusedLoc.locations", "errors have no line"),
    ("jaxlib.mlir.ir", "Module.parseFile", "locations do not name the file"),
    ("jaxlib.mlir.ir", "StringAttr.value_bytes", "names that are not UTF-8 end in an internal error"),
    ("jaxlib.mlir.ir", "Operation.walk", "operations in regions are not found"),
    ("jaxlib.mlir.ir", "Operation.clone", "calls are not inlined"),
    ("jaxlib.mlir.ir", "Operation.move_before", "calls are not inlined"),
    ("jaxlib.mlir.ir", "Operation.write_bytecode", "jax's cached module cannot be copied"),
    ("jaxlib.mlir.ir", "Block.erase_argument", "dead arguments stay"),
    ("jax.extend.core", "Primitive", "fragments do not run"),
    ("jax.interpreters.mlir", "register_lowering", "fragments do not run"),
    ("jax.interpreters.mlir", "LoweringRuleContext", "fragments do not run"),
    ("jax.core", "ShapedArray", "fragments do not run"),
    ("jax._src.hardware_utils", "num_available_tpu_chips_and_device_id", "libtpu complains where there are no TPUs"),
    ("jax._src.dispatch", "jaxpr_has_prim_requiring_devices", "host calls beside shardings do not lower"),
    ("jax._src.dispatch", "prim_requires_devices_during_lowering", "host calls without devices have no line"),
    ("jax._src.core", "jaxprs_in_params", "host calls without devices have no line"),
    ("jax._src.source_info_util", "user_frames", "host calls without devices have no line"),
    ("jax._src.source_info_util", "current_name_stack", "per_microbatch loses scopes"),
    ("jax._src.source_info_util", "user_context", "per_microbatch loses lines"),
    ("jax._src.core", "Literal", "per_microbatch takes numbers for values"),
    ("jax._src.core", "JaxprEqn.ctx", "per_microbatch cannot do an operation once more"),
    ("jax._src.core", "Primitive.get_bind_params", "per_microbatch cannot do an operation once more"),
    ("jax._src.compilation_cache", "get_cache_key", "fragments do not compile with a persistent cache"),
    ("jax._src.compilation_cache", "get_executable_and_time", "fragments do not compile with a persistent cache"),
    ("jax._src.compilation_cache", "is_cache_used", "fragments do not compile with a persistent cache"),
    ("jax._src.compilation_cache", "is_persistent_cache_enabled", "fragments do not compile"),
    ("jax._src.compilation_cache", "put_executable_and_time", "fragments do not compile with a persistent cache"),
    ("jax._src.compiler", "backend_compile_and_load", "fragments do not compile"),
    ("jax._src.dispatch", "BACKEND_COMPILE_EVENT", "fragments do not compile"),
    ("jax._src.dispatch", "log_elapsed_time", "fragments do not compile"),
    ("jax._src.interpreters.pxla", "UnloadedMeshExecutable.load", "fragments do not compile"),
    ("jax._src.interpreters.pxla", "_get_layouts_from_executable", "fragments do not compile"),
    ("jax._src.interpreters.pxla", "create_compile_options", "fragments do not compile"),
    ("jax._src.interpreters.pxla", "get_dispatch_layouts", "fragments do not compile"),
    ("jax._src.interpreters.pxla", "get_prop_to_input_output", "fragments do not compile"),
    ("jaxlib.xla_client", "DeviceList", "fragments do not compile"),
    ("jaxlib._jax", "Client.deserialize_executable", "fragments are not loaded for other islands"),
    ("jaxlib._jax", "LoadedExecutable.serialize", "fragments are not loaded for other islands"),
    ("jax.stages", "Compiled", "fragments do not compile"),
    ("jax.stages", "Traced.out_info", "results have no paths"),
    ("jax.stages", "Lowered.compiler_ir", "nothing can be exported"),
]


@pytest.mark.parametrize(("module", "name", "consequence"), NEEDED, ids=[f"{one[0]}.{one[1]}" for one in NEEDED])
def test_a_needed_name_is_there(module, name, consequence):
    found = importlib.import_module(module)
    for part in name.split("."):
        assert hasattr(found, part), f"{module} has lost {name}: {consequence}"
        found = getattr(found, part)


@functools.cache
def nodes_of(path: Path) -> list[ast.AST]:
    """What a source is made of, as far as the tests below look: imports, and dotted names."""
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return [node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom | ast.Attribute)]


def bindings_named_in(path: Path) -> set[str]:
    """`ir.Module.parse` and the like, as a source spells them."""
    nodes = nodes_of(path)
    imported = {
        alias.name
        for node in nodes
        if isinstance(node, ast.ImportFrom) and node.module == "atoll.compiler.mlir.bindings"
        for alias in node.names
    }
    spelled = {ast.unparse(node) for node in nodes if imported and isinstance(node, ast.Attribute)}
    return {name for name in spelled if name.partition(".")[0] in imported and name.replace(".", "").isidentifier()}


def test_every_binding_that_the_sources_spell_is_there():
    named = set().union(*map(bindings_named_in, SOURCES))
    assert {"ir.Module.parse", "func.FuncOp"} <= named
    for name in sorted(named):
        found = mlir
        for part in name.split("."):
            assert hasattr(found, part), f"jaxlib has lost {name}"
            found = getattr(found, part)


def test_a_context_can_be_made_more_than_once():
    # Registering StableHLO's passes a second time would end the process.
    first, second = new_context(), new_context()
    assert first is not second


def test_a_context_knows_the_dialects():
    operations = ("func.func", "stablehlo.add", "chlo.square", "sdy.mesh", "mpmd.fragment", "mpmd.transfer")
    context = new_context()
    assert [name for name in operations if not context.is_registered_operation(name)] == []


def test_a_pass_of_ours_is_called_with_the_module_and_can_fail():
    module = parse_text("module {}")
    seen = []
    manager = PassManager("builtin.module", context=module.context)
    manager.add(lambda operation, external: seen.append((operation.name, external)), name="mine", argument="mine")
    manager.run(module.operation)
    assert [name for name, _ in seen] == ["builtin.module"]
    assert "mine" in str(manager)

    failing = PassManager("builtin.module", context=module.context)
    failing.add(lambda _, external: external.signal_pass_failure(), name="failing", argument="failing")
    with pytest.raises(ir.MLIRError):
        failing.run(module.operation)


def test_what_native_code_writes_to_standard_error_is_collected(capfd):
    with native_stderr() as told:
        os.write(2, b"complaint")
        assert told() == "complaint"
    os.write(2, b"after")
    assert capfd.readouterr().err == "after"


def imports_of(path: Path) -> set[str]:
    names = set()
    for node in nodes_of(path):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def is_unstable(name: str) -> bool:
    """Whether jax or jaxlib may change it in any release."""
    inside = ("jaxlib", "jax._src", "jax.extend", "jax.interpreters")
    return any(name == one or name.startswith(f"{one}.") for one in inside)


def test_only_mlir_touches_what_jax_may_change():
    allowed = {
        ROOT / "compiler/mlir/bindings.py": ("jaxlib.", "jax._src"),
        # What a lowered function becomes is a matter between jax's compiler and its cache.
        ROOT / "compiler/mlir/binary.py": ("jaxlib.", "jax._src"),
        # What runs a fragment is a primitive with a lowering of its own.
        ROOT / "runtime/fragment.py": ("jax.extend.", "jax.interpreters."),
    }
    found = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in SOURCES
        for name in imports_of(path)
        if is_unstable(name) and not (name + ".").startswith(allowed.get(path, ("nothing",)))
    }
    assert found == set(), "import it in compiler/mlir/bindings.py or binary.py and name it in this file's NEEDED"


@pytest.mark.parametrize("door", [mlir, binary], ids=["bindings", "binary"])
def test_importing_a_door_does_not_import_jax(door):
    assert "\nimport jax\n" not in inspect.getsource(door)
    top_level = {node.module for node in ast.parse(inspect.getsource(door)).body if isinstance(node, ast.ImportFrom)}
    assert not any(name == "jax" or name.startswith("jax.") for name in top_level)
