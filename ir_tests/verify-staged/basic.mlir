// RUN: atoll-opt %s --passes "verify-staged" | filecheck %s

// A module whose operations have stages and sweeps passes, and says so.

// CHECK: module attributes {atoll.phase = "staged", atoll.stages = 2 : i32}
module attributes {atoll.phase = "stablehlo", atoll.stages = 2 : i32} {
  func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
    %0 = stablehlo.negate %x {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<4xf32>
    %1 = stablehlo.negate %0 {atoll.stage = 1 : i32, atoll.sweep = 0 : i32} : tensor<4xf32>
    %2 = stablehlo.negate %1 {atoll.stage = 0 : i32, atoll.sweep = 1 : i32} : tensor<4xf32>
    return %2 : tensor<4xf32>
  }
}
