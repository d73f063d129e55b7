// RUN: atoll-opt %s --passes "cut-automatically" | filecheck %s

// Casts of all parameters come before the model; each is on the stage that uses it.

// CHECK: convert %arg1 {atoll.stage = 0 : i32}
// CHECK: convert %arg2 {atoll.stage = 1 : i32}
// CHECK: dot_general {{.*}} {atoll.stage = 0 : i32}
// CHECK: dot_general {{.*}} {atoll.stage = 1 : i32}
module attributes {atoll.stages = 2 : i32} {
  func.func @main(%x: tensor<4x4xbf16>, %a: tensor<4x4xf32>, %b: tensor<4x4xf32>) -> tensor<4x4xbf16> {
    %0 = stablehlo.convert %a : (tensor<4x4xf32>) -> tensor<4x4xbf16>
    %1 = stablehlo.convert %b : (tensor<4x4xf32>) -> tensor<4x4xbf16>
    %2 = stablehlo.dot_general %x, %0, contracting_dims = [1] x [0] : (tensor<4x4xbf16>, tensor<4x4xbf16>)
        -> tensor<4x4xbf16>
    %3 = stablehlo.dot_general %2, %1, contracting_dims = [1] x [0] : (tensor<4x4xbf16>, tensor<4x4xbf16>)
        -> tensor<4x4xbf16>
    return %3 : tensor<4x4xbf16>
  }
}
