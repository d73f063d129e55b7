// RUN: atoll-opt %s --passes "fold-batch" | filecheck %s

// A mean over the examples that a mask selects needs their number first: a loop of its own computes it, and nothing
// else.

// CHECK:      [[COUNTING:%.*]] = mpmd.for
// CHECK-NEXT:   stablehlo.constant dense<0.000000e+00> : tensor<f32>
// CHECK-NEXT:   stablehlo.reduce
// CHECK-NEXT:   stablehlo.add
// CHECK-NEXT:   mpmd.return
// CHECK:      mpmd.for
// CHECK:        stablehlo.exponential
// CHECK-NEXT:   [[COUNT:%.*]] = stablehlo.broadcast_in_dim [[COUNTING]], dims = [] : (tensor<f32>) -> tensor<2x3xf32>
// CHECK-NEXT:   stablehlo.divide {{%.*}}, [[COUNT]]
// CHECK:        stablehlo.reduce
// CHECK:        mpmd.return
module attributes {atoll.plan = "microbatches=4"} {
  func.func @main(
      %x: tensor<8x3xf32> {atoll.path = "x", atoll.batch},
      %w: tensor<8xf32> {atoll.path = "w", atoll.batch})
      -> (tensor<3xf32> {atoll.path = "result"}) {
    %zero = stablehlo.constant dense<0.0> : tensor<f32>
    %count = stablehlo.reduce(%w init: %zero) applies stablehlo.add across dimensions = [0]
        : (tensor<8xf32>, tensor<f32>) -> tensor<f32>
    %y = stablehlo.exponential %x : tensor<8x3xf32>
    %wide = stablehlo.broadcast_in_dim %count, dims = [] : (tensor<f32>) -> tensor<8x3xf32>
    %z = stablehlo.divide %y, %wide : tensor<8x3xf32>
    %mean = stablehlo.reduce(%z init: %zero) applies stablehlo.add across dimensions = [0]
        : (tensor<8x3xf32>, tensor<f32>) -> tensor<3xf32>
    return %mean : tensor<3xf32>
  }
}
