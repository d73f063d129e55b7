// RUN: atoll-opt %s --passes "resolve-plan" --split-input-file | filecheck %s


// Without a topology nobody can tell how many stages there are.
// CHECK:      atoll.filled = {replicas = 1 : i64, segments = 1 : i64}
// CHECK-SAME: atoll.plan = "stages=auto, microbatches=4, schedule=auto, replicas=1, segments=1"
module attributes {atoll.plan = "microbatches=4"} {
}

// -----

// What has been noted stays.
// CHECK:      atoll.filled = {replicas = 1 : i64, segments = 1 : i64, stages = 2 : i64}
// CHECK-SAME: atoll.plan = "stages=2, microbatches=4, schedule=auto, replicas=1, segments=1"
module attributes {atoll.plan = "stages=auto, microbatches=4, replicas=1, segments=1",
                   atoll.filled = {replicas = 1 : i64, segments = 1 : i64}, atoll.topology = "2 x cpu[1]"} {
}
