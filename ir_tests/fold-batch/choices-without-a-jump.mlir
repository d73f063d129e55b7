// RUN: atoll-opt %s --passes "fold-batch" | filecheck %s

// The first loop sums up `where(x > 0, x, 0)`, which makes no jump at zero: whatever the comparison says of a number
// that is nearly zero, the sum is the same but for rounding. So only the second loop decides, and nothing is kept.

// CHECK:      mpmd.for
// CHECK:        stablehlo.dot_general
// CHECK:        stablehlo.compare
// CHECK:        mpmd.return {{%[0-9]+}} : tensor<64xf32>
// CHECK:      mpmd.for
// CHECK:        stablehlo.dot_general
// CHECK:        stablehlo.compare
// CHECK:        return
module attributes {atoll.plan = "microbatches=2, extra=100"} {
  func.func @main(%w: tensor<1x64xf32> {atoll.path = "w"}, %x: tensor<4x1xf32> {atoll.path = "x", atoll.batch})
      -> (tensor<4x64xf32> {atoll.path = "y"}) {
    %zero = stablehlo.constant dense<0.0> : tensor<f32>
    %zeros = stablehlo.constant dense<0.0> : tensor<4x64xf32>
    %0 = stablehlo.dot_general %x, %w, contracting_dims = [1] x [0] : (tensor<4x1xf32>, tensor<1x64xf32>)
        -> tensor<4x64xf32>
    %1 = stablehlo.compare GT, %0, %zeros : (tensor<4x64xf32>, tensor<4x64xf32>) -> tensor<4x64xi1>
    %2 = stablehlo.select %1, %0, %zeros : tensor<4x64xi1>, tensor<4x64xf32>
    %3 = stablehlo.reduce(%2 init: %zero) applies stablehlo.add across dimensions = [0]
        : (tensor<4x64xf32>, tensor<f32>) -> tensor<64xf32>
    %4 = stablehlo.broadcast_in_dim %3, dims = [1] : (tensor<64xf32>) -> tensor<4x64xf32>
    %5 = stablehlo.subtract %0, %4 : tensor<4x64xf32>
    %6 = stablehlo.select %1, %5, %zeros : tensor<4x64xi1>, tensor<4x64xf32>
    return %6 : tensor<4x64xf32>
  }
}
