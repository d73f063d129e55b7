// RUN: atoll-opt %s --passes "keep-narrow" | filecheck %s

// Where one side is a vector, or each channel has a kernel of its own, XLA may multiply element by element, and round
// nothing.

// CHECK-NOT: convert
module attributes {atoll.stages = 1 : i32, atoll.topology = "1 x v5e[1x1]"} {
  func.func @main(%x: tensor<4x4xf32>, %d: tensor<1x4xf32>, %k: tensor<2x1x4xf32>, %i: tensor<2x4x4xf32>)
      -> (tensor<4x1xf32>, tensor<4x4xf32>, tensor<2x3x4xf32>, tensor<2x4x4xf32>) {
    %y = stablehlo.tanh %x {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<4x4xf32>
    %z = stablehlo.sine %y {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<4x4xf32>
    %0 = stablehlo.dot_general %y, %d, contracting_dims = [1] x [1], precision = [DEFAULT, DEFAULT]
        {atoll.stage = 0 : i32, atoll.sweep = 1 : i32} : (tensor<4x4xf32>, tensor<1x4xf32>) -> tensor<4x1xf32>
    %h = stablehlo.tanh %i {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<2x4x4xf32>
    %s = stablehlo.sine %h {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<2x4x4xf32>
    %1 = stablehlo.convolution(%h, %k) dim_numbers = [b, 0, f]x[0, i, o]->[b, 0, f], window = {}
        {atoll.stage = 0 : i32, atoll.sweep = 1 : i32, batch_group_count = 1 : i64, feature_group_count = 4 : i64}
        : (tensor<2x4x4xf32>, tensor<2x1x4xf32>) -> tensor<2x3x4xf32>
    return %0, %z, %1, %s : tensor<4x1xf32>, tensor<4x4xf32>, tensor<2x3x4xf32>, tensor<2x4x4xf32>
  }
}
