"""The passes, one a file; a folder holds those that lead to one phase.

The order in which they run, and why, is in `atoll.compiler.pipeline.pipeline`. `tests/test_layout.py` keeps this table
and the tree together.
"""

# Name -> "module:class", loaded when it is used.
PASSES = {
    "chain-scalars": "atoll.passes.stage.chain_scalars:ChainScalars",
    "copy-cheap-operations": "atoll.passes.stage.copy_cheap_operations:CopyCheapOperations",
    "cut-automatically": "atoll.passes.stage.cut_automatically:CutAutomatically",
    "cut-segments": "atoll.passes.stage.cut_segments:CutSegments",
    "drop-dead-arguments": "atoll.passes.normalize.drop_dead_arguments:DropDeadArguments",
    "drop-dead-carries": "atoll.passes.stage.drop_dead_carries:DropDeadCarries",
    "drop-empty-shardings": "atoll.passes.normalize.drop_empty_shardings:DropEmptyShardings",
    "drop-empty-values": "atoll.passes.stage.drop_empty_values:DropEmptyValues",
    "find-roles": "atoll.passes.time.find_roles:FindRoles",
    "fold-batch": "atoll.passes.time.fold_batch:FoldBatch",
    "hide-microbatch-index": "atoll.passes.place.hide_microbatch_index:HideMicrobatchIndex",
    "inline-calls": "atoll.passes.normalize.inline_calls:InlineCalls",
    "join-branches": "atoll.passes.stage.join_branches:JoinBranches",
    "join-sums": "atoll.passes.stage.join_sums:JoinSums",
    "keep-less": "atoll.passes.stage.keep_less:KeepLess",
    "keep-narrow": "atoll.passes.stage.keep_narrow:KeepNarrow",
    "make-again": "atoll.passes.stage.make_again:MakeAgain",
    "make-fragments": "atoll.passes.place.make_fragments:MakeFragments",
    "mark-arguments": "atoll.passes.normalize.mark_arguments:MarkArguments",
    "measure-layers": "atoll.passes.stage.measure_layers:MeasureLayers",
    "order-sweeps": "atoll.passes.stage.order_sweeps:OrderSweeps",
    "order-tasks": "atoll.passes.schedule.order_tasks:OrderTasks",
    "outline-fragments": "atoll.passes.schedule.outline_fragments:OutlineFragments",
    "resolve-plan": "atoll.passes.time.resolve_plan:ResolvePlan",
    "seed-stages": "atoll.passes.stage.seed_stages:SeedStages",
    "share-fragments": "atoll.passes.schedule.share_fragments:ShareFragments",
    "share-update": "atoll.passes.stage.share_update:ShareUpdate",
    "show-microbatch-index": "atoll.passes.place.show_microbatch_index:ShowMicrobatchIndex",
    "split-backward": "atoll.passes.stage.split_backward:SplitBackward",
    "split-branches": "atoll.passes.stage.split_branches:SplitBranches",
    "split-layer-loops": "atoll.passes.stage.split_layer_loops:SplitLayerLoops",
    "spread-stages": "atoll.passes.stage.spread_stages:SpreadStages",
    "take-out-sums": "atoll.passes.stage.take_out_sums:TakeOutSums",
    "unite-meshes": "atoll.passes.stage.unite_meshes:UniteMeshes",
    "verify-placed": "atoll.passes.place.verify_placed:VerifyPlaced",
    "verify-scheduled": "atoll.passes.schedule.verify_scheduled:VerifyScheduled",
    "verify-stablehlo": "atoll.passes.normalize.verify_stablehlo:VerifyStablehlo",
    "verify-staged": "atoll.passes.stage.verify_staged:VerifyStaged",
    "verify-timed": "atoll.passes.time.verify_timed:VerifyTimed",
}
