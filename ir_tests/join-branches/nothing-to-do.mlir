// RUN: atoll-opt %s --passes "join-branches" | filecheck %s

// Without branches in pieces there is nothing to join.

// CHECK: negate %arg0 : tensor<4xf32>
module attributes {atoll.stages = 1 : i32} {
  func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
    %0 = stablehlo.negate %x : tensor<4xf32>
    return %0 : tensor<4xf32>
  }
}
