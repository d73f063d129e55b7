"""The marks that passes leave on the IR: one name each, and what it says. Nothing else writes `atoll.*` attributes."""

STAGE = "atoll.stage"
# The stage of the plan, where it runs in segments and which of them is open yet.
PLANNED_STAGE = "atoll.planned_stage"
SWEEP = "atoll.sweep"
# On a loop over layers: the stage of each of them.
LAYERS = "atoll.layers"
# On a constant that stands for the number of the microbatch.
INDEX = "atoll.index"
# On a loop over microbatches: the kind of task that each sweep is, one letter each.
KINDS = "atoll.kinds"
# On a loop over microbatches: what its table does not tell of its schedule, such as the name; see `loop_schedule`.
SCHEDULE = "atoll.schedule"
# On the module: islands and axes of shardings that the islands cannot follow, as `island: axis`.
NOT_FOLLOWED = "atoll.not_followed"
# On the module: how many stages there are.
STAGES = "atoll.stages"
# On the module: the bytes that cross between stages, and how few any other choice could have had.
TRAFFIC = "atoll.traffic"
TRAFFIC_BOUND = "atoll.traffic_at_least"

# On the module: what is computed for the whole batch, though each microbatch needs only its block.
WHOLE_BATCH = "atoll.whole_batch"
# On the module: the loops of the model that the cut leaves whole, and why.
WHOLE_LOOPS = "atoll.whole_loops"
# On the module: the stacks of layers that are split, and yet needed whole, with what needs them.
JOINED = "atoll.joined"
# On the module: what the replicas do not share of the state that only the update reads, and why; and what they gather.
NOT_SHARED = "atoll.not_shared"

# The pytree path, in the user's words: `state['params']['w']`, `result[0]`.
PATH = "atoll.path"

# On an argument with the batch on axis 0.
BATCH = "atoll.batch"

# On an argument or a result that stands for as many values as there are microbatches, each of the type it has; on a
# loop over microbatches the numbers of the results that are of this kind.
PARTS = "atoll.parts"

# On a result with parts: the dimension along which they make up the whole; 0 if it is not said.
PARTS_DIMENSION = "atoll.parts_dimension"

# On one of several arguments, or results, with one path, which together are what the user passes or gets: the
# dimension along which they are the whole, where this one starts, and how long the whole is.
PIECE = "atoll.piece"

# On an argument whose buffers the caller gives away.
DONATED = "atoll.donated"

# On the module: the phase that its verifier vouched for, and the texts it was compiled with.
PHASE = "atoll.phase"

TOPOLOGY = "atoll.topology"

PLAN = "atoll.plan"

# On the module: the parts of the plan that whoever wrote it left open, with what they were decided to be.
FILLED = "atoll.filled"

# On a transfer that stands for an exchange between replicas: how they combine what each has.
EXCHANGE = "atoll.exchange"

# On an exchange of which every replica gives or gets its share alone: the dimension along which shares are the whole.
# Also on an argument or a result of `@main` of which every replica has its share.
SHARE = "atoll.share"

# On a loop over microbatches in phase `scheduled`.
ORDER = "atoll.order"

# On the pieces of a `case`: its number, so that those that come to one fragment can be joined again.
BRANCHES = "atoll.branches"
