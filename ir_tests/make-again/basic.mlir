// RUN: atoll-opt %s --passes "make-again" | filecheck %s

// The way back takes the exponentials and their sum, so that it makes the shares again, and what they are divided by.
// The hyperbolic tangent, which could come out differently, is kept.

// CHECK:      [[SUM:%.*]] = stablehlo.reduce
// CHECK-NEXT: [[HERE:%.*]] = stablehlo.broadcast_in_dim [[SUM]], {{.*}} {atoll.stage = 0 : i32, atoll.sweep = 0 : i32}
// CHECK-NEXT: [[BACK:%.*]] = stablehlo.broadcast_in_dim [[SUM]], {{.*}} {atoll.stage = 0 : i32, atoll.sweep = 1 : i32}
// CHECK-NEXT: divide {{%.*}}, [[HERE]] {atoll.stage = 0 : i32, atoll.sweep = 0 : i32}
// CHECK-NEXT: [[SHARE:%.*]] = stablehlo.divide {{%.*}}, [[BACK]] {atoll.stage = 0 : i32, atoll.sweep = 1 : i32}
// CHECK-NEXT: [[TANH:%.*]] = stablehlo.tanh {{.*}} {atoll.stage = 0 : i32, atoll.sweep = 0 : i32}
// CHECK-NEXT: add
// CHECK-NEXT: multiply [[SHARE]], [[TANH]]
module attributes {atoll.stages = 1 : i32} {
  func.func @main(%x: tensor<4x8xf32>) -> (tensor<4x8xf32>, tensor<4xf32>, tensor<4x8xf32>) {
    %e = stablehlo.exponential %x {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<4x8xf32>
    %zero = stablehlo.constant dense<0.0> : tensor<f32>
    %s = stablehlo.reduce(%e init: %zero) applies stablehlo.add across dimensions = [1]
        {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : (tensor<4x8xf32>, tensor<f32>) -> tensor<4xf32>
    %b = stablehlo.broadcast_in_dim %s, dims = [0] {atoll.stage = 0 : i32, atoll.sweep = 0 : i32}
        : (tensor<4xf32>) -> tensor<4x8xf32>
    %q = stablehlo.divide %e, %b {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<4x8xf32>
    %t = stablehlo.tanh %e {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<4x8xf32>
    %y = stablehlo.add %t, %q {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<4x8xf32>
    %0 = stablehlo.multiply %q, %t {atoll.stage = 0 : i32, atoll.sweep = 1 : i32} : tensor<4x8xf32>
    %1 = stablehlo.sine %s {atoll.stage = 0 : i32, atoll.sweep = 1 : i32} : tensor<4xf32>
    %2 = stablehlo.multiply %0, %e {atoll.stage = 0 : i32, atoll.sweep = 1 : i32} : tensor<4x8xf32>
    return %2, %1, %y : tensor<4x8xf32>, tensor<4xf32>, tensor<4x8xf32>
  }
}
