"""The names of the marks that stand on the IR: `atoll.*` attributes, in the order in which passes come to write them.

`mark_table` says of each what it stands on, and who writes and reads it.
"""

# From export on.
TOPOLOGY = "atoll.topology"
PLAN = "atoll.plan"
PHASE = "atoll.phase"
PATH = "atoll.path"
BATCH = "atoll.batch"
DONATED = "atoll.donated"
ON_HOST = "atoll.on_host"
ALONE = "atoll.alone"
ALONE_CUT = "atoll.alone_cut"
# From the phase `timed` on.
FILLED = "atoll.filled"
PARTS = "atoll.parts"
PARTS_DIMENSION = "atoll.parts_dimension"
PIECE = "atoll.piece"
NOTES = "atoll.notes"
# From the phase `staged` on.
BRANCHES = "atoll.branches"
STAGES = "atoll.stages"
STAGE = "atoll.stage"
LAYERS = "atoll.layers"
PLANNED_STAGE = "atoll.planned_stage"
EXCHANGE = "atoll.exchange"
SHARE = "atoll.share"
SWEEP = "atoll.sweep"
ROLE = "atoll.role"
# From the phase `placed` on.
INDEX = "atoll.index"
# From the phase `scheduled` on.
SCHEDULE = "atoll.schedule"
ORDER = "atoll.order"
# On no way to a phase.
PASSES_LEFT = "atoll.passes_left"
LAYER_COSTS = "atoll.layer_costs"
