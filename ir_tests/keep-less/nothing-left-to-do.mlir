// RUN: atoll-opt %s --passes "keep-less" | filecheck %s

// A schedule has a forward task for each stage, so a stage does not lose all that its task computes.

// CHECK: broadcast_in_dim {{.*}} {atoll.stage = 0 : i32, atoll.sweep = 0 : i32}
module attributes {atoll.stages = 1 : i32} {
  func.func @main(%x: tensor<4xf32>) -> tensor<4x8xf32> {
    %b = stablehlo.broadcast_in_dim %x, dims = [0] {atoll.stage = 0 : i32, atoll.sweep = 0 : i32}
        : (tensor<4xf32>) -> tensor<4x8xf32>
    %0 = stablehlo.sine %b {atoll.stage = 0 : i32, atoll.sweep = 1 : i32} : tensor<4x8xf32>
    return %0 : tensor<4x8xf32>
  }
}
