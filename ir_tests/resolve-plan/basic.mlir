// RUN: atoll-opt %s --passes "resolve-plan" --split-input-file | filecheck %s


// Without a plan every part is open: a stage for each island.
// CHECK:      module attributes {atoll.filled = {microbatches = 1 : i64, replicas = 1 : i64, segments = 1 : i64, stages = 3 : i64}
// CHECK-SAME: atoll.plan = "stages=3, microbatches=1, schedule=auto, replicas=1, segments=1"
module attributes {atoll.topology = "3 x cpu[1]"} {
}

// -----

// A schedule may have several stages an island; each replica has its own islands. How many segments are worth it is
// open where there are replicas.
// CHECK:      atoll.filled = {microbatches = 1 : i64, stages = 4 : i64}
// CHECK-SAME: atoll.plan = "stages=4, microbatches=1, schedule=zb-v, replicas=2"
module attributes {atoll.plan = "schedule=zb-v, replicas=2", atoll.topology = "4 x cpu[1]"} {
}

// -----

// A schedule that the user wrote says how many stages and microbatches there are.
// CHECK:      atoll.filled = {microbatches = 2 : i64, replicas = 1 : i64, segments = 1 : i64, stages = 1 : i64}
// CHECK-SAME: atoll.plan = "stages=1, microbatches=2, schedule=
module attributes {atoll.plan = "schedule=\"schedule mine: 1 island, 2 microbatches; island 0: F0 F1 B0 B1\""} {
}

// -----

// A placement stands instead of stages.
// CHECK:      atoll.filled = {microbatches = 1 : i64, replicas = 1 : i64, segments = 1 : i64}
// CHECK-SAME: atoll.plan = "stages=auto, microbatches=1, schedule=auto, replicas=1, placement={
module attributes {atoll.plan = "placement={\"a\": \"island0\"}", atoll.topology = "2 x cpu[1]"} {
}
