// RUN: atoll-opt %s --passes "cut-automatically" | filecheck %s

// The cut is where one small value crosses, though another place would be exactly in the middle. Constants, and what
// only spreads a scalar, get no stage.

// CHECK:      constant dense<0.000000e+00> : tensor<f32>
// CHECK-NEXT: broadcast_in_dim {{%.*}} : (tensor<f32>) -> tensor<8x8xf32>
// CHECK-NEXT: dot_general {{.*}} {atoll.stage = 0 : i32}
// CHECK-NEXT: maximum {{.*}} {atoll.stage = 0 : i32}
// CHECK-NEXT: slice {{.*}} {atoll.stage = 0 : i32}
// CHECK-NEXT: dot_general {{.*}} {atoll.stage = 1 : i32}
// CHECK-NEXT: maximum {{.*}} {atoll.stage = 1 : i32}
module attributes {atoll.plan = "stages=2", atoll.stages = 2 : i32} {
  func.func @main(%x: tensor<8x8xf32>, %a: tensor<8x8xf32>, %b: tensor<8x8xf32>) -> tensor<4x8xf32> {
    %c = stablehlo.constant dense<0.0> : tensor<f32>
    %zeros = stablehlo.broadcast_in_dim %c, dims = [] : (tensor<f32>) -> tensor<8x8xf32>
    %0 = stablehlo.dot_general %x, %a, contracting_dims = [1] x [0] : (tensor<8x8xf32>, tensor<8x8xf32>)
        -> tensor<8x8xf32>
    %1 = stablehlo.maximum %0, %zeros : tensor<8x8xf32>
    %2 = stablehlo.slice %1 [0:4, 0:8] : (tensor<8x8xf32>) -> tensor<4x8xf32>
    %3 = stablehlo.dot_general %2, %b, contracting_dims = [1] x [0] : (tensor<4x8xf32>, tensor<8x8xf32>)
        -> tensor<4x8xf32>
    %4 = stablehlo.maximum %3, %3 : tensor<4x8xf32>
    return %4 : tensor<4x8xf32>
  }
}
