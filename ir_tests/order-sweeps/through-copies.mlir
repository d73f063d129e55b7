// RUN: atoll-opt %s --passes "order-sweeps" | filecheck %s

// A broadcast has no stage: what counts is where its scalar is made.

// CHECK:      custom_call @f(%arg0) {atoll.stage = 1 : i32, atoll.sweep = 0 : i32}
// CHECK-NEXT: broadcast_in_dim %0, dims = [] : (tensor<f32>) -> tensor<4xf32>
// CHECK-NEXT: add %1, %arg1 {atoll.stage = 0 : i32, atoll.sweep = 1 : i32}
module attributes {atoll.stages = 2 : i32} {
  func.func @main(%s: tensor<f32>, %x: tensor<4xf32>) -> tensor<4xf32> {
    %0 = "stablehlo.custom_call"(%s) {atoll.stage = 1 : i32, call_target_name = "f"} : (tensor<f32>) -> tensor<f32>
    %1 = stablehlo.broadcast_in_dim %0, dims = [] : (tensor<f32>) -> tensor<4xf32>
    %2 = stablehlo.add %1, %x {atoll.stage = 0 : i32} : tensor<4xf32>
    return %2 : tensor<4xf32>
  }
}
