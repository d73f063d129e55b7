// RUN: atoll-opt %s --passes "fold-batch" | filecheck %s

// Each of two products is needed by two loops, and there is room for one of them: the wide one saves more work for each
// byte, and is kept. The other one is made again.

// CHECK:      [[FIRST:%.*]]:3 = mpmd.for {{.*}} {atoll.parts = array<i64: 2>, iterations = 2 : ui32}
// CHECK-DAG:    stablehlo.dot_general {{.*}} : (tensor<2x2xf32>, tensor<2x3xf32>) -> tensor<2x3xf32>
// CHECK-DAG:    [[WIDE:%.*]] = stablehlo.dot_general {{.*}} : (tensor<2x9xf32>, tensor<9x3xf32>) -> tensor<2x3xf32>
// CHECK:        mpmd.return {{.*}}, [[WIDE]] :
// CHECK:      mpmd.for
// CHECK-NOT:    tensor<9x3xf32>
// CHECK:        stablehlo.dot_general {{.*}} : (tensor<2x2xf32>, tensor<2x3xf32>) -> tensor<2x3xf32>
// CHECK-NOT:    stablehlo.dot_general
// CHECK:      return
module attributes {atoll.plan = "microbatches=2, extra=\"50%, 48 B\""} {
  func.func @main(%v: tensor<2x3xf32> {atoll.path = "v"}, %w: tensor<9x3xf32> {atoll.path = "w"},
                  %x: tensor<4x2xf32> {atoll.path = "x", atoll.batch},
                  %y: tensor<4x9xf32> {atoll.path = "y", atoll.batch}) -> (tensor<4x3xf32> {atoll.path = "z"}) {
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
