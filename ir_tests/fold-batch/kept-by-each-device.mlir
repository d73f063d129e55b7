// RUN: atoll-opt %s --passes "fold-batch" | filecheck %s

// What a plan lets be kept is for each device: two devices share the examples, and each keeps half of both products.

// CHECK:      [[FIRST:%.*]]:4 = mpmd.for {{.*}} {atoll.parts = array<i64: 2, 3>, iterations = 2 : ui32}
// CHECK-DAG:    [[NARROW:%.*]] = stablehlo.dot_general {{.*}} : (tensor<2x2xf32>, tensor<2x3xf32>) -> tensor<2x3xf32>
// CHECK-DAG:    [[WIDE:%.*]] = stablehlo.dot_general {{.*}} : (tensor<2x9xf32>, tensor<9x3xf32>) -> tensor<2x3xf32>
// CHECK:        mpmd.return {{.*}} [[WIDE]], [[NARROW]] :
// CHECK:      mpmd.for
// CHECK-NOT:    stablehlo.dot_general
// CHECK:      return
module attributes {atoll.plan = "microbatches=2, extra=\"0%, 48 B\"", atoll.topology = "2 x cpu[data=2]"} {
  sdy.mesh @mesh = <["data"=2]>
  func.func @main(
      %v: tensor<2x3xf32> {atoll.path = "v"}, %w: tensor<9x3xf32> {atoll.path = "w"},
      %x: tensor<4x2xf32> {atoll.path = "x", atoll.batch, sdy.sharding = #sdy.sharding<@mesh, [{"data"}, {}]>},
      %y: tensor<4x9xf32> {atoll.path = "y", atoll.batch, sdy.sharding = #sdy.sharding<@mesh, [{"data"}, {}]>})
      -> (tensor<4x3xf32> {atoll.path = "z"}) {
    %zero = stablehlo.constant dense<0.0> : tensor<f32>
    %0 = stablehlo.dot_general %x, %v, contracting_dims = [1] x [0] : (tensor<4x2xf32>, tensor<2x3xf32>)
        -> tensor<4x3xf32>
    %1 = stablehlo.dot_general %y, %w, contracting_dims = [1] x [0] : (tensor<4x9xf32>, tensor<9x3xf32>)
        -> tensor<4x3xf32>
    %2 = stablehlo.reduce(%0 init: %zero) applies stablehlo.add across dimensions = [0] : (tensor<4x3xf32>, tensor<f32>)
        -> tensor<3xf32>
    %3 = stablehlo.reduce(%1 init: %zero) applies stablehlo.add across dimensions = [0] : (tensor<4x3xf32>, tensor<f32>)
        -> tensor<3xf32>
    %4 = stablehlo.broadcast_in_dim %2, dims = [1] : (tensor<3xf32>) -> tensor<4x3xf32>
    %5 = stablehlo.broadcast_in_dim %3, dims = [1] : (tensor<3xf32>) -> tensor<4x3xf32>
    %6 = stablehlo.multiply %0, %4 : tensor<4x3xf32>
    %7 = stablehlo.multiply %1, %5 : tensor<4x3xf32>
    %8 = stablehlo.add %6, %7 : tensor<4x3xf32>
    return %8 : tensor<4x3xf32>
  }
}
