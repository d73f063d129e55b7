"""The passes of MLIR, StableHLO and Shardy that a pipeline may name, by what they do.

The bindings cannot list what is registered, and some of it ends the process on valid input, so this table is the
list. `tests/compiler/test_native_passes.py` runs every entry on a corpus of modules.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Native:
    summary: str
    # What the pass runs on. MLIR refuses a pass for functions in a pipeline for modules.
    anchor: str = "builtin.module"
    # Whether the pass ends the process on a module without @main.
    needs_main: bool = False


_FUNCTION = "func.func"

NATIVE_PASSES = {
    "canonicalize": Native("fold and simplify operations, share constants"),
    "chlo-legalize-to-stablehlo": Native("expand CHLO operations into StableHLO", _FUNCTION),
    "cse": Native("share equal operations (do not use before stages exist: it shares values across them)"),
    "loop-invariant-code-motion": Native("move what does not change out of loops"),
    "remove-dead-values": Native("remove values, arguments and results that nothing uses"),
    "sccp": Native("propagate constants through branches"),
    "sdy-add-data-flow-edges": Native("mark where shardings pass through control flow"),
    "sdy-aggressive-propagate": Native("propagate shardings, resolving conflicts", needs_main=True),
    "sdy-apply-sharding-constraints": Native(
        "attach sharding constraints to the values they constrain", needs_main=True
    ),
    "sdy-basic-propagate": Native("propagate shardings where nothing conflicts", needs_main=True),
    "sdy-close-shardings": Native("close open sharding dimensions"),
    "sdy-constant-or-scalar-splitter": Native("give every use of a constant its own copy"),
    "sdy-drop-sharding-rules": Native("remove sharding rules from operations", _FUNCTION),
    "sdy-explicit-gather-scatter-batching": Native("make batching of gather and scatter explicit", _FUNCTION),
    "sdy-flatten-call-graph": Native("give every call its own copy of the callee"),
    "sdy-inline-meshes": Native("write meshes into the shardings that name them"),
    "sdy-insert-explicit-reshards": Native("insert a reshard where an operand's sharding does not fit", _FUNCTION),
    "sdy-lift-inlined-meshes": Native("name the meshes that shardings write out"),
    "sdy-manual-axes-cleanup": Native("normalise the axes of manual computations"),
    "sdy-op-priority-propagate": Native("propagate shardings, element-wise operations first", needs_main=True),
    "sdy-populate-op-sharding-rules": Native(
        "attach to every operation the rule that relates its shardings", _FUNCTION
    ),
    "sdy-propagation-pipeline": Native("Shardy's propagation as a whole", needs_main=True),
    "sdy-remove-sharding-groups": Native("remove sharding groups"),
    "sdy-reshard-to-collectives": Native("turn reshards into collectives", _FUNCTION),
    "sdy-sharding-constraint-to-reshard": Native("turn sharding constraints into reshards", _FUNCTION),
    "sdy-sharding-group-import": Native("merge sharding groups and check them"),
    "sdy-sink-data-flow-edges": Native("move shardings from data-flow edges to their sources", _FUNCTION),
    "sdy-update-non-divisible-input-output-shardings": Native("make shardings of arguments and results divide them"),
    "sdy-user-priority-propagate": Native("propagate shardings by the user's priorities", needs_main=True),
    "stablehlo-complex-math-expander": Native("expand complex mathematics into real", _FUNCTION),
    "stablehlo-convert-to-signless": Native("make integer types signless"),
    "stablehlo-legalize-composite-to-call": Native("replace composites by calls", _FUNCTION),
    "stablehlo-legalize-deprecated-ops": Native("replace deprecated operations", _FUNCTION),
    "stablehlo-legalize-to-vhlo": Native("turn StableHLO into its versioned dialect"),
    "stablehlo-refine-shapes": Native("infer static shapes through the module"),
    "strip-debuginfo": Native("remove all locations"),
    "symbol-dce": Native("remove private functions that nothing calls"),
    "trivial-dce": Native("remove operations without effects whose results nothing uses"),
    "vhlo-legalize-to-stablehlo": Native("turn the versioned dialect back into StableHLO"),
}

# Registered, yet not to be run: name -> why.
REFUSED_PASSES = {
    "inline": "it leaves func.call in place, as the wheel has no inliner for it; use inline-calls",
    "sdy-convert-global-to-local": "it ends the process on a padded value that feeds a sharded contraction",
}
