// RUN: atoll-opt %s --passes "fold-batch" | filecheck %s

// Examples need a statistic of what the model makes of all of them. One loop makes both and keeps its part of the
// product for each microbatch, as to do that again would be all of the model's work; what is cheap is done again.

// CHECK:      [[FIRST:%.*]]:2 = mpmd.for {{.*}} {atoll.parts = array<i64: 1>, iterations = 2 : ui32}
// CHECK-SAME:     ([[SUM:%arg[0-9]+]]:
// CHECK:        [[PRODUCT:%.*]] = stablehlo.dot_general
// CHECK:        [[TANH:%.*]] = stablehlo.tanh [[PRODUCT]]
// CHECK:        [[PART:%.*]] = stablehlo.reduce([[TANH]]
// CHECK:        [[TOTAL:%.*]] = stablehlo.add [[SUM]], [[PART]]
// CHECK-NEXT:   mpmd.return [[TOTAL]], [[PRODUCT]]
// CHECK:      [[SECOND:%.*]] = mpmd.for
// CHECK-NEXT:   stablehlo.tanh [[FIRST]]#1
// CHECK-NEXT:   stablehlo.broadcast_in_dim [[FIRST]]#0
// CHECK-NEXT:   stablehlo.subtract
// CHECK:      return [[SECOND]]
module attributes {atoll.plan = "microbatches=2"} {
  func.func @main(%w: tensor<3x3xf32> {atoll.path = "w"}, %x: tensor<4x3xf32> {atoll.path = "x", atoll.batch})
      -> (tensor<4x3xf32> {atoll.path = "y"}) {
    %zero = stablehlo.constant dense<0.0> : tensor<f32>
    %0 = stablehlo.dot_general %x, %w, contracting_dims = [1] x [0] : (tensor<4x3xf32>, tensor<3x3xf32>)
        -> tensor<4x3xf32>
    %1 = stablehlo.tanh %0 : tensor<4x3xf32>
    %2 = stablehlo.reduce(%1 init: %zero) applies stablehlo.add across dimensions = [0] : (tensor<4x3xf32>, tensor<f32>)
        -> tensor<3xf32>
    %3 = stablehlo.broadcast_in_dim %2, dims = [1] : (tensor<3xf32>) -> tensor<4x3xf32>
    %4 = stablehlo.subtract %1, %3 : tensor<4x3xf32>
    return %4 : tensor<4x3xf32>
  }
}
