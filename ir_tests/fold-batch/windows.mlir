// RUN: atoll-opt %s --passes "fold-batch" | filecheck %s

// Windows that never reach from one example into another go over each microbatch.

// CHECK:      mpmd.for
// CHECK:        "stablehlo.reduce_window"(%arg0, {{%.*}}) <{window_dimensions = array<i64: 1, 2>
// CHECK:        }) : (tensor<2x6xf32>, tensor<f32>) -> tensor<2x3xf32>
module attributes {atoll.plan = "microbatches=4"} {
  func.func @main(%x: tensor<8x6xf32> {atoll.path = "x", atoll.batch}) -> (tensor<8x3xf32> {atoll.path = "pooled"}) {
    %least = stablehlo.constant dense<0xFF800000> : tensor<f32>
    %pooled = "stablehlo.reduce_window"(%x, %least) <{
        window_dimensions = array<i64: 1, 2>, window_strides = array<i64: 1, 2>}> ({
    ^bb0(%a: tensor<f32>, %b: tensor<f32>):
      %most = stablehlo.maximum %a, %b : tensor<f32>
      stablehlo.return %most : tensor<f32>
    }) : (tensor<8x6xf32>, tensor<f32>) -> tensor<8x3xf32>
    return %pooled : tensor<8x3xf32>
  }
}
