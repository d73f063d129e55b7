// RUN: atoll-opt %s --passes "fold-batch" | filecheck %s

// What a scope sees of each microbatch alone is cut where microbatches are, so that each makes its own; numbers that
// have nothing to do with the examples are cut like them.

// CHECK:      mpmd.for
// CHECK-DAG:    [[OWN:%.*]] = stablehlo.reshape {{.*}} : (tensor<2x3xf32>) -> tensor<1x2x3xf32>
// CHECK-DAG:    stablehlo.dynamic_slice {{.*}} -> tensor<2xf32>
// CHECK-NOT:    atoll.alone_cut
// CHECK:        [[MOST:%.*]] = stablehlo.reduce({{.*}}) applies stablehlo.maximum across dimensions = [1]
// CHECK:        stablehlo.reduce([[MOST]]
// CHECK:        return
module attributes {
  atoll.plan = "microbatches=2, per_microbatch=\"norm\"",
  atoll.alone = {notes = [], parts = 2 : i32}
} {
  func.func @main(%mask: tensor<4xf32> {atoll.path = "mask"}, %x: tensor<4x3xf32> {atoll.path = "x", atoll.batch})
      -> (tensor<3xf32> {atoll.path = "y"}) {
    %zero = stablehlo.constant dense<0.0> : tensor<f32>
    %0 = stablehlo.reshape %x {atoll.alone_cut} : (tensor<4x3xf32>) -> tensor<2x2x3xf32>
    %1 = stablehlo.reshape %mask {atoll.alone_cut} : (tensor<4xf32>) -> tensor<2x2xf32>
    %2 = stablehlo.broadcast_in_dim %1, dims = [0, 1] : (tensor<2x2xf32>) -> tensor<2x2x3xf32>
    %3 = stablehlo.multiply %0, %2 : tensor<2x2x3xf32>
    %4 = stablehlo.reduce(%3 init: %zero) applies stablehlo.maximum across dimensions = [1]
        : (tensor<2x2x3xf32>, tensor<f32>) -> tensor<2x3xf32>
    %5 = stablehlo.reduce(%4 init: %zero) applies stablehlo.add across dimensions = [0]
        : (tensor<2x3xf32>, tensor<f32>) -> tensor<3xf32>
    return %5 : tensor<3xf32>
  }
}
