// RUN: atoll-opt %s --passes "share-update" | filecheck %s

// A replica takes its share of a sum over the batch, too. What the loop reads, such as the parameter, is whole in every
// replica; what only the update reads is shared.

// CHECK:      func.func @main(%arg0: tensor<4xf32> {atoll.path = "state['w']"},
// CHECK-SAME: %arg1: tensor<2xf32> {atoll.path = "state['m']", atoll.share = 0 : i32}
// CHECK:      [[G:%.*]] = mpmd.for
// CHECK:      [[OWN:%.*]] = stablehlo.custom_call @atoll.exchange([[G]]) {atoll.exchange = "share"
// CHECK-NEXT: [[M:%.*]] = stablehlo.add %arg1, [[OWN]] : tensor<2xf32>
// CHECK-NEXT: [[W:%.*]] = stablehlo.custom_call @atoll.exchange(%arg0) {atoll.exchange = "share"
// CHECK-NEXT: [[NEW:%.*]] = stablehlo.subtract [[W]], [[M]]
// CHECK-NEXT: [[ALL:%.*]] = stablehlo.custom_call @atoll.exchange([[NEW]]) {atoll.exchange = "gather"
// CHECK-NEXT: return [[ALL]], [[M]]
module attributes {atoll.plan = "replicas=2, microbatches=2, update=sharded", atoll.topology = "2 x cpu[1]"} {
  func.func @main(
      %w: tensor<4xf32> {atoll.path = "state['w']"}, %m: tensor<4xf32> {atoll.path = "state['m']"},
      %x: tensor<4xf32> {atoll.path = "x", atoll.batch, atoll.parts = 4 : i32})
      -> (tensor<4xf32> {atoll.path = "result['w']"}, tensor<4xf32> {atoll.path = "result['m']"}) {
    %none = stablehlo.constant dense<0.0> : tensor<4xf32>
    %g = mpmd.for (%none) {iterations = 4 : ui32} (%sum: tensor<4xf32>, %index: tensor<ui32>) {
      %part = stablehlo.multiply %w, %x : tensor<4xf32>
      %next = stablehlo.add %sum, %part : tensor<4xf32>
      mpmd.return %next : tensor<4xf32>
    } : tensor<4xf32>
    %momentum = stablehlo.add %m, %g : tensor<4xf32>
    %new = stablehlo.subtract %w, %momentum : tensor<4xf32>
    return %new, %momentum : tensor<4xf32>, tensor<4xf32>
  }
}
