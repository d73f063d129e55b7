"""Whether an operation does anything beside computing its results.

Whatever drops, repeats, shares or moves operations asks here, the runtime too. The list is of operations that are known
to do nothing else: one that nobody has thought of counts as having an effect, so it stays where it is and happens once.
"""

import re

from atoll.compiler.mlir.bindings import ir, stablehlo
from atoll.compiler.mlir.functions import is_used, operations_in
from atoll.compiler.mlir.locations import name_stack
from atoll.compiler.mlir.memory_kinds import is_annotation, target_of

# Operations that only compute, by dialect; for one with regions, the operations in these are asked about too. Left out
# are those that speak with the world outside (`infeed`, `outfeed`, `send`, `recv`) and the tokens that order them;
# `rng`, which draws from a state that it changes; and calls of functions, which may do anything. A custom call itself
# says whether it has an effect.
_ONLY_COMPUTE = frozenset(
    f"{dialect}.{name}"
    for dialect, names in {
        "chlo": """
            _asin_acos_kernel acos acosh asin asinh atan atanh bessel_i1e broadcast_add broadcast_and broadcast_atan2
            broadcast_compare broadcast_complex broadcast_divide broadcast_maximum broadcast_minimum broadcast_multiply
            broadcast_next_after broadcast_or broadcast_polygamma broadcast_power broadcast_remainder broadcast_select
            broadcast_shift_left broadcast_shift_right_arithmetic broadcast_shift_right_logical broadcast_subtract
            broadcast_xor broadcast_zeta conj constant constant_like cosh digamma erf erf_inv erfc is_inf is_neg_inf
            is_pos_inf lgamma mulhi next_after polygamma ragged_dot scan sinh square tan top_k zeta
        """,
        "func": "constant return",
        "mpmd": "assign broadcast for fragment named_computation named_tensor reduce return transfer unassign",
        # A sharding group has no result: it only advises how values are divided.
        "sdy": """
            all_gather all_reduce all_slice all_to_all collective_permute constant data_flow_edge manual_computation
            named_computation propagation_barrier reduce_scatter replicated_to_unreduced reshard return
            sharded_to_unreduced sharding_constraint sharding_group
        """,
        # With collectives: all devices of an island run the same code, so if one is dropped, it is dropped on all.
        "stablehlo": """
            abs add all_gather all_reduce all_to_all and atan2 batch_norm_grad batch_norm_inference batch_norm_training
            bitcast_convert broadcast broadcast_in_dim case cbrt ceil cholesky clamp collective_broadcast
            collective_permute collective_reduce compare complex concatenate constant convert convolution cosine
            count_leading_zeros cross-replica-sum divide dot dot_general dynamic_broadcast_in_dim dynamic_conv
            dynamic_gather dynamic_iota dynamic_pad dynamic_reshape dynamic_slice dynamic_update_slice einsum
            exponential exponential_minus_one fft floor gather get_dimension_size get_tuple_element if imag iota
            is_finite log log_plus_one logistic map maximum minimum multiply negate not optimization_barrier or pad
            partition_id popcnt power real real_dynamic_slice reduce reduce_precision reduce_scatter reduce_window
            remainder replica_id reshape return reverse rng_bit_generator round_nearest_afz round_nearest_even rsqrt
            scatter select select_and_scatter set_dimension_size shift_left shift_right_arithmetic shift_right_logical
            sign sine slice sort sqrt subtract tan tanh torch_index_select transpose triangular_solve tuple unary_einsum
            uniform_dequantize uniform_quantize while xor
        """,
    }.items()
    for name in names.split()
)

# jax's names for calls of the host, by platform: `xla_ffi_python_cpu_callback`, `xla_buffer_python_gpu_callback`.
_HOST_CALL = re.compile(r".*_python_.*callback")

# The names of the library's functions, as jax calls them, begin so.
_LAPACK = "lapack_"


def acts(operation: ir.OpView) -> bool:
    """Whether the operation itself, apart from what is in its regions, does anything beside computing its results."""
    if not isinstance(operation, stablehlo.CustomCallOp):
        return operation.operation.name not in _ONLY_COMPUTE
    # `jax.pure_callback` says that it has no effect, so it may be called any number of times, as under `jax.jit`.
    flag = "has_side_effect"
    says_so = flag in operation.attributes and ir.BoolAttr(operation.attributes[flag]).value
    # jax marks an annotation as having an effect only so that XLA leaves it in.
    return says_so and not is_annotation(operation)


def has_effect(operation: ir.OpView) -> bool:
    """Whether an operation, or one in its regions, does anything beside computing its results."""
    return any(map(acts, operations_in(operation, ir.OpView)))


def host_calls_in(operation: ir.Operation) -> list[stablehlo.CustomCallOp]:
    """The calls of Python functions of this process, as made by `jax.pure_callback` and the like."""
    return [call for call in operations_in(operation, stablehlo.CustomCallOp) if _HOST_CALL.fullmatch(target_of(call))]


def host_call_number(call: stablehlo.CustomCallOp) -> int:
    """Which of the Python functions that were lowered with the module it calls."""
    return ir.IntegerAttr(ir.DictAttr(call.attributes["mhlo.backend_config"])["index"]).value


def is_print(operation: ir.OpView) -> bool:
    """Whether it is what jax makes of `jax.debug.print`: the name of its primitive comes last in its name stack."""
    is_call = isinstance(operation, stablehlo.CustomCallOp) and _HOST_CALL.fullmatch(target_of(operation)) is not None
    return is_call and name_stack(operation.location).rpartition("/")[2] == "debug_print"


def calls_lapack(operation: ir.Operation) -> bool:
    """Whether it has calls of the library for linear algebra on CPUs."""
    return any(target_of(call).startswith(_LAPACK) for call in operations_in(operation, stablehlo.CustomCallOp))


def erase_unused(block: ir.Block) -> None:
    """Erase the operations of a block that only compute results which nobody takes."""
    for operation in reversed(list(block.operations)[:-1]):
        erase_if_unused(operation)


def erase_if_unused(operation: ir.OpView) -> None:
    """Erase an operation if it only computes results, and nobody takes them."""
    if not any(map(is_used, operation.operation.results)) and not has_effect(operation):
        operation.operation.erase()
