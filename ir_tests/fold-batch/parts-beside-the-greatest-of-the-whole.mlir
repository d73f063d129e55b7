// RUN: atoll-opt %s --passes "fold-batch" | filecheck %s

// The similarity of each example to all, and which of them is the greatest, as the gradient of a loss of hardest pairs
// asks. Made again for the examples of a microbatch and rounded otherwise, none might be equal to the greatest of the
// whole: they are cut out of it, though that takes more memory than the arguments.

// CHECK:      mpmd.for
// CHECK:      [[ALL:%.*]] = stablehlo.dot_general {{.*}} -> tensor<8x8xf32>
// CHECK:      [[GREATEST:%.*]] = stablehlo.reduce([[ALL]]
// CHECK:      mpmd.for
// CHECK-NOT:    stablehlo.dot_general {{.*}} -> tensor<8x2xf32>
// CHECK:        [[OWN:%.*]] = stablehlo.dynamic_slice [[ALL]], {{.*}} -> tensor<8x2xf32>
// CHECK-NOT:    stablehlo.dot_general {{.*}} -> tensor<8x2xf32>
// CHECK:        [[IS:%.*]] = stablehlo.compare EQ, [[OWN]],
// CHECK:        return
module attributes {atoll.plan = "microbatches=4"} {
  func.func @main(%w: tensor<1x1xf32> {atoll.path = "w"}, %x: tensor<8x1xf32> {atoll.path = "x", atoll.batch})
      -> (tensor<8x1xf32> {atoll.path = "y"}) {
    %low = stablehlo.constant dense<0xFF800000> : tensor<f32>
    %0 = stablehlo.dot_general %x, %w, contracting_dims = [1] x [0] : (tensor<8x1xf32>, tensor<1x1xf32>)
        -> tensor<8x1xf32>
    %1 = stablehlo.dot_general %0, %0, contracting_dims = [1] x [1] : (tensor<8x1xf32>, tensor<8x1xf32>)
        -> tensor<8x8xf32>
    %2 = stablehlo.reduce(%1 init: %low) applies stablehlo.maximum across dimensions = [1]
        : (tensor<8x8xf32>, tensor<f32>) -> tensor<8xf32>
    %3 = stablehlo.broadcast_in_dim %2, dims = [0] : (tensor<8xf32>) -> tensor<8x8xf32>
    %4 = stablehlo.compare EQ, %1, %3 : (tensor<8x8xf32>, tensor<8x8xf32>) -> tensor<8x8xi1>
    %5 = stablehlo.convert %4 : (tensor<8x8xi1>) -> tensor<8x8xf32>
    %6 = stablehlo.dot_general %5, %0, contracting_dims = [0] x [0] : (tensor<8x8xf32>, tensor<8x1xf32>)
        -> tensor<8x1xf32>
    %7 = stablehlo.multiply %6, %0 : tensor<8x1xf32>
    return %7 : tensor<8x1xf32>
  }
}
