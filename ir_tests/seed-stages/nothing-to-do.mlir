// RUN: atoll-opt %s --passes "seed-stages" | filecheck %s

// Where the plan names no scopes, only the number of stages is written down.

// CHECK: module attributes {atoll.plan = "stages=3", atoll.stages = 3 : i32}
// CHECK: negate %arg0 : tensor<4xf32>
module attributes {atoll.plan = "stages=3"} {
  func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
    %0 = stablehlo.negate %x : tensor<4xf32>
    return %0 : tensor<4xf32>
  }
}
