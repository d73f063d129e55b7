// RUN: atoll-opt %s --passes "copy-cheap-operations" | filecheck %s

// A cheap value that is returned is made in the fragment that makes what it needs; a constant, in the first fragment.

// CHECK:      [[S:%.*]] = stablehlo.custom_call @f(%arg0) {atoll.stage = 1 : i32, atoll.sweep = 0 : i32}
// CHECK-NEXT: [[C:%.*]] = stablehlo.constant {atoll.stage = 0 : i32, atoll.sweep = 0 : i32}
// CHECK-NEXT: [[B:%.*]] = stablehlo.broadcast_in_dim [[S]], dims = [] {atoll.stage = 1 : i32, atoll.sweep = 0 : i32}
// CHECK-NEXT: return [[C]], [[B]], [[C]]
module attributes {atoll.stages = 2 : i32} {
  func.func @main(%s: tensor<f32>) -> (tensor<4xf32>, tensor<4xf32>, tensor<4xf32>) {
    %c = stablehlo.constant dense<1.0> : tensor<4xf32>
    %0 = stablehlo.custom_call @f(%s) {atoll.stage = 1 : i32, atoll.sweep = 0 : i32} : (tensor<f32>) -> tensor<f32>
    %1 = stablehlo.broadcast_in_dim %0, dims = [] : (tensor<f32>) -> tensor<4xf32>
    return %c, %1, %c : tensor<4xf32>, tensor<4xf32>, tensor<4xf32>
  }
}
