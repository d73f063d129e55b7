// RUN: atoll-opt %s --passes "seed-stages" | filecheck %s

// Where the plan does not say, there are as many stages as a replica has islands.

// CHECK: atoll.stages = 3 : i32
module attributes {atoll.plan = "replicas=2", atoll.topology = "6 x cpu[1]"} {
  func.func @main() {
    return
  }
}
