// RUN: atoll-opt %s --passes "fold-batch" --split-input-file | filecheck %s

// Similarities that each example needs by its row and by its column are made once for all, and cut in both ways.

// CHECK:      mpmd.for
// CHECK:      [[ALL:%.*]] = stablehlo.dot_general {{.*}} -> tensor<8x8xf32>
// CHECK:      mpmd.for
// CHECK-NOT:    stablehlo.dot_general
// CHECK:        return
module attributes {atoll.plan = "microbatches=4"} {
  func.func @main(%w: tensor<64x1xf32> {atoll.path = "w"}, %x: tensor<8x64xf32> {atoll.path = "x", atoll.batch})
      -> (tensor<8xf32> {atoll.path = "y"}) {
    %zero = stablehlo.constant dense<0.0> : tensor<f32>
    %0 = stablehlo.dot_general %x, %w, contracting_dims = [1] x [0] : (tensor<8x64xf32>, tensor<64x1xf32>)
        -> tensor<8x1xf32>
    %1 = stablehlo.dot_general %0, %0, contracting_dims = [1] x [1] : (tensor<8x1xf32>, tensor<8x1xf32>)
        -> tensor<8x8xf32>
    %2 = stablehlo.exponential %1 : tensor<8x8xf32>
    %3 = stablehlo.reduce(%2 init: %zero) applies stablehlo.add across dimensions = [0]
        : (tensor<8x8xf32>, tensor<f32>) -> tensor<8xf32>
    %4 = stablehlo.reduce(%2 init: %zero) applies stablehlo.add across dimensions = [1]
        : (tensor<8x8xf32>, tensor<f32>) -> tensor<8xf32>
    %5 = stablehlo.add %3, %4 : tensor<8xf32>
    %6 = stablehlo.reshape %0 : (tensor<8x1xf32>) -> tensor<8xf32>
    %7 = stablehlo.multiply %5, %6 : tensor<8xf32>
    return %7 : tensor<8xf32>
  }
}

// -----

// Where that takes more memory than the arguments, they are made in both forms.

// CHECK:      mpmd.for
// CHECK-NOT:  -> tensor<8x8xf32>
// CHECK:      mpmd.for
// CHECK-DAG:    stablehlo.dot_general {{.*}} -> tensor<2x8xf32>
// CHECK-DAG:    stablehlo.dot_general {{.*}} -> tensor<8x2xf32>
// CHECK:        return
module attributes {atoll.plan = "microbatches=4, extra=100"} {
  func.func @main(%w: tensor<4x1xf32> {atoll.path = "w"}, %x: tensor<8x4xf32> {atoll.path = "x", atoll.batch})
      -> (tensor<8xf32> {atoll.path = "y"}) {
    %zero = stablehlo.constant dense<0.0> : tensor<f32>
    %0 = stablehlo.dot_general %x, %w, contracting_dims = [1] x [0] : (tensor<8x4xf32>, tensor<4x1xf32>)
        -> tensor<8x1xf32>
    %1 = stablehlo.dot_general %0, %0, contracting_dims = [1] x [1] : (tensor<8x1xf32>, tensor<8x1xf32>)
        -> tensor<8x8xf32>
    %2 = stablehlo.exponential %1 : tensor<8x8xf32>
    %3 = stablehlo.reduce(%2 init: %zero) applies stablehlo.add across dimensions = [0]
        : (tensor<8x8xf32>, tensor<f32>) -> tensor<8xf32>
    %4 = stablehlo.reduce(%2 init: %zero) applies stablehlo.add across dimensions = [1]
        : (tensor<8x8xf32>, tensor<f32>) -> tensor<8xf32>
    %5 = stablehlo.add %3, %4 : tensor<8xf32>
    %6 = stablehlo.reshape %0 : (tensor<8x1xf32>) -> tensor<8xf32>
    %7 = stablehlo.multiply %5, %6 : tensor<8xf32>
    return %7 : tensor<8xf32>
  }
}
