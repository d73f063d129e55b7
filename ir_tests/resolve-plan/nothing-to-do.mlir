// RUN: atoll-opt %s --passes "resolve-plan" | filecheck %s

// A plan that says everything stays as it is, and nothing is noted.

// CHECK:      module attributes {atoll.plan = "stages=1, microbatches=2, schedule=gpipe, replicas=2, segments=4",
// CHECK-SAME:   atoll.topology = "2 x cpu[1]"}
module attributes {atoll.plan = "stages=1, microbatches=2, schedule=gpipe, replicas=2, segments=4",
    atoll.topology = "2 x cpu[1]"} {
}
