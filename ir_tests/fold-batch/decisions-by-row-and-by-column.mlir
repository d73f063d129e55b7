// RUN: atoll-opt %s --passes "fold-batch" | filecheck %s

// Which pairs are alike, by the row of an example and by its column. Made in both forms, of similarities that may be
// rounded otherwise, these could contradict each other: it is decided once, for all pairs.

// CHECK:      mpmd.for
// CHECK:      [[ALL:%.*]] = stablehlo.dot_general {{.*}} -> tensor<8x8xf32>
// CHECK:      [[ALIKE:%.*]] = stablehlo.compare GT, [[ALL]],
// CHECK:      mpmd.for
// CHECK-DAG:    stablehlo.dynamic_slice [[ALIKE]], {{.*}} -> tensor<8x2xi1>
// CHECK-DAG:    stablehlo.dynamic_slice [[ALIKE]], {{.*}} -> tensor<2x8xi1>
// CHECK:        return
module attributes {atoll.plan = "microbatches=4"} {
  func.func @main(%w: tensor<1x1xf32> {atoll.path = "w"}, %x: tensor<8x1xf32> {atoll.path = "x", atoll.batch})
      -> (tensor<8xf32> {atoll.path = "y"}) {
    %zero = stablehlo.constant dense<0.0> : tensor<f32>
    %zeros = stablehlo.constant dense<0.0> : tensor<8x8xf32>
    %0 = stablehlo.dot_general %x, %w, contracting_dims = [1] x [0] : (tensor<8x1xf32>, tensor<1x1xf32>)
        -> tensor<8x1xf32>
    %1 = stablehlo.dot_general %0, %0, contracting_dims = [1] x [1] : (tensor<8x1xf32>, tensor<8x1xf32>)
        -> tensor<8x8xf32>
    %2 = stablehlo.compare GT, %1, %zeros : (tensor<8x8xf32>, tensor<8x8xf32>) -> tensor<8x8xi1>
    %3 = stablehlo.convert %2 : (tensor<8x8xi1>) -> tensor<8x8xf32>
    %4 = stablehlo.reduce(%3 init: %zero) applies stablehlo.add across dimensions = [0]
        : (tensor<8x8xf32>, tensor<f32>) -> tensor<8xf32>
    %5 = stablehlo.reduce(%3 init: %zero) applies stablehlo.add across dimensions = [1]
        : (tensor<8x8xf32>, tensor<f32>) -> tensor<8xf32>
    %6 = stablehlo.subtract %4, %5 : tensor<8xf32>
    %7 = stablehlo.reshape %0 : (tensor<8x1xf32>) -> tensor<8xf32>
    %8 = stablehlo.multiply %6, %7 : tensor<8xf32>
    return %8 : tensor<8xf32>
  }
}
