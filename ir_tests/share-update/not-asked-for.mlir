// RUN: atoll-opt %s --passes "share-update" | filecheck %s

// Only a plan that says so shares the update.

// CHECK:     %arg0: tensor<4xf32> {atoll.path = "state['m']"}
// CHECK-NOT: atoll.share
module attributes {atoll.plan = "replicas=2", atoll.topology = "2 x cpu[1]"} {
  func.func @main(%m: tensor<4xf32> {atoll.path = "state['m']"}) -> (tensor<4xf32> {atoll.path = "result['m']"}) {
    %0 = stablehlo.negate %m : tensor<4xf32>
    return %0 : tensor<4xf32>
  }
}
