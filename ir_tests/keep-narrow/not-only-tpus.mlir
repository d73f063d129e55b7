// RUN: atoll-opt %s --passes "keep-narrow" | filecheck %s

// A CPU multiplies float32 as it is, and any stage may be on it.

// CHECK-NOT: convert
module attributes {atoll.stages = 1 : i32, atoll.topology = "island a : v5e[1x1]; island b : cpu[1]"} {
  func.func @main(%x: tensor<4x4xf32>) -> (tensor<4x4xf32>, tensor<4x4xf32>) {
    %y = stablehlo.tanh %x {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<4x4xf32>
    %z = stablehlo.sine %y {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<4x4xf32>
    %0 = stablehlo.dot_general %y, %x, contracting_dims = [1] x [0], precision = [DEFAULT, DEFAULT]
        {atoll.stage = 0 : i32, atoll.sweep = 1 : i32} : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
    return %0, %z : tensor<4x4xf32>, tensor<4x4xf32>
  }
}
