// RUN: atoll-opt %s --passes "make-fragments" | filecheck %s

// With more stages than islands these take turns, and what two stages of one island hand on is not sent.

// CHECK:      [[F0:%.*]] = mpmd.fragment<mesh="island0", origin=["F0"]>
// CHECK:      mpmd.transfer [[F0]]
// CHECK:      mpmd.fragment<mesh="island1", origin=["F1"]>
// CHECK:      mpmd.fragment<mesh="island0", origin=["F2"]> ([[F0]])
module attributes {atoll.stages = 3 : i32, atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>) {
    %0 = stablehlo.negate %x {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<4xf32>
    %1 = stablehlo.negate %0 {atoll.stage = 1 : i32, atoll.sweep = 0 : i32} : tensor<4xf32>
    %2 = stablehlo.cosine %0 {atoll.stage = 2 : i32, atoll.sweep = 0 : i32} : tensor<4xf32>
    return %1, %2 : tensor<4xf32>, tensor<4xf32>
  }
}
