// RUN: atoll-opt %s --passes "split-layer-loops" | filecheck %s

// Layers may stand along any dimension of a stack, and along another one of what is computed from it.

// CHECK:      %arg0: tensor<3x3xf32> {atoll.path = "w", atoll.piece = array<i64: 1, 0, 4>}
// CHECK-SAME: %arg1: tensor<3x1xf32> {atoll.path = "w", atoll.piece = array<i64: 1, 3, 4>}
// CHECK-SAME: tensor<1x3xf32> {atoll.path = "turned", atoll.piece = array<i64: 0, 3, 4>}
// CHECK:      stablehlo.transpose %arg0, dims = [1, 0] : (tensor<3x3xf32>) -> tensor<3x3xf32>
// CHECK-NEXT: stablehlo.transpose %arg1, dims = [1, 0] : (tensor<3x1xf32>) -> tensor<1x3xf32>
module attributes {atoll.stages = 2 : i32} {
  func.func @main(%w: tensor<3x4xf32> {atoll.path = "w"}, %x: tensor<3x1xf32> {atoll.path = "x"})
      -> (tensor<3x1xf32> {atoll.path = "y"}, tensor<4x3xf32> {atoll.path = "turned"}) {
    %zero = stablehlo.constant dense<0> : tensor<i32>
    %one = stablehlo.constant dense<1> : tensor<i32>
    %four = stablehlo.constant dense<4> : tensor<i32>
    %0:3 = stablehlo.while(%a = %w, %i = %zero, %h = %x) : tensor<3x4xf32>, tensor<i32>, tensor<3x1xf32>
        attributes {atoll.layers = array<i64: 0, 0, 0, 1>}
    cond {
      %more = stablehlo.compare LT, %i, %four : (tensor<i32>, tensor<i32>) -> tensor<i1>
      stablehlo.return %more : tensor<i1>
    } do {
      %row = stablehlo.dynamic_slice %a, %zero, %i, sizes = [3, 1]
          : (tensor<3x4xf32>, tensor<i32>, tensor<i32>) -> tensor<3x1xf32>
      %next = stablehlo.add %h, %row : tensor<3x1xf32>
      %j = stablehlo.add %i, %one : tensor<i32>
      stablehlo.return %a, %j, %next : tensor<3x4xf32>, tensor<i32>, tensor<3x1xf32>
    }
    %turned = stablehlo.transpose %w, dims = [1, 0] : (tensor<3x4xf32>) -> tensor<4x3xf32>
    return %0#2, %turned : tensor<3x1xf32>, tensor<4x3xf32>
  }
}
