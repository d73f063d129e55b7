// RUN: atoll-opt %s --passes "resolve-plan" | filecheck %s


// CHECK: module attributes {atoll.plan = "stages=1, microbatches=2, schedule=gpipe, replicas=2, segments=4", atoll.topology = "2 x cpu[1]"}
module attributes {atoll.plan = "stages=1, microbatches=2, schedule=gpipe, replicas=2, segments=4", atoll.topology = "2 x cpu[1]"} {
}
