// RUN: atoll-opt %s --passes "fold-batch" | filecheck %s

// What is computed from a sum comes after the loop, where the sum is complete.

// CHECK:      [[SUM:%.*]] = mpmd.for
// CHECK:      } : tensor<f32>
// CHECK-NEXT: [[SCALED:%.*]] = stablehlo.multiply [[SUM]], %arg1
// CHECK-NEXT: stablehlo.tanh [[SCALED]]
module attributes {atoll.plan = "microbatches=4"} {
  func.func @main(%x: tensor<8xf32> {atoll.path = "x", atoll.batch}, %w: tensor<f32> {atoll.path = "w"})
      -> (tensor<f32> {atoll.path = "loss"}) {
    %zero = stablehlo.constant dense<0.0> : tensor<f32>
    %sum = stablehlo.reduce(%x init: %zero) applies stablehlo.add across dimensions = [0]
        : (tensor<8xf32>, tensor<f32>) -> tensor<f32>
    %scaled = stablehlo.multiply %sum, %w : tensor<f32>
    %loss = stablehlo.tanh %scaled : tensor<f32>
    return %loss : tensor<f32>
  }
}
