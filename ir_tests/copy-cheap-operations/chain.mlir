// RUN: atoll-opt %s --passes "copy-cheap-operations" | filecheck %s

// What a copy needs is copied too, and stands before its first user; two users of one fragment share it.

// CHECK:      [[C:%.*]] = stablehlo.constant {{.*}} dense<1.0
// CHECK-NEXT: [[N:%.*]] = stablehlo.negate [[C]]
// CHECK-NEXT: [[A:%.*]] = stablehlo.abs [[N]]
// CHECK-NEXT: [[P:%.*]] = stablehlo.pad %arg0, [[A]]
// CHECK-NEXT: [[B:%.*]] = stablehlo.broadcast_in_dim [[N]]
// CHECK-NEXT: stablehlo.add [[P]], [[B]]
// CHECK-NEXT: return
module attributes {atoll.stages = 1 : i32} {
  func.func @main(%x: tensor<3xf32>) -> tensor<4xf32> {
    %c = stablehlo.constant dense<1.0> : tensor<f32>
    %0 = stablehlo.negate %c : tensor<f32>
    %1 = stablehlo.broadcast_in_dim %0, dims = [] : (tensor<f32>) -> tensor<4xf32>
    %2 = stablehlo.abs %0 : tensor<f32>
    %3 = stablehlo.pad %x, %2, low = [0], high = [1], interior = [0] {atoll.stage = 0 : i32, atoll.sweep = 0 : i32}
        : (tensor<3xf32>, tensor<f32>) -> tensor<4xf32>
    %4 = stablehlo.add %3, %1 {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<4xf32>
    return %4 : tensor<4xf32>
  }
}
