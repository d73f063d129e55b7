// RUN: atoll-opt %s --passes "share-update" | filecheck %s

// State that the microbatches read as well stays whole, and nothing is exchanged for it.

// CHECK:     func.func @main(%arg0: tensor<4xf32> {atoll.path = "state['m']"},
// CHECK-NOT: atoll.exchange
module attributes {atoll.plan = "replicas=2, microbatches=2, update=sharded", atoll.topology = "2 x cpu[1]"} {
  func.func @main(
      %m: tensor<4xf32> {atoll.path = "state['m']"},
      %x: tensor<4xf32> {atoll.path = "x", atoll.batch, atoll.parts = 4 : i32})
      -> (tensor<4xf32> {atoll.path = "result['m']"}) {
    %none = stablehlo.constant dense<0.0> : tensor<4xf32>
    %g = mpmd.for (%none) {iterations = 4 : ui32} (%sum: tensor<4xf32>, %index: tensor<ui32>) {
      %part = stablehlo.multiply %m, %x : tensor<4xf32>
      %next = stablehlo.add %sum, %part : tensor<4xf32>
      mpmd.return %next : tensor<4xf32>
    } : tensor<4xf32>
    %new = stablehlo.add %m, %g : tensor<4xf32>
    return %new : tensor<4xf32>
  }
}
