// RUN: atoll-opt %s --passes "make-fragments" | filecheck %s

// There is one transfer for each value and island: from the argument's home, for both users on the other island
// together.

// CHECK:      @main(%arg0: !mpmd.mesh_tensor<"island0", tensor<4xf32>>)
// CHECK-NEXT: [[SENT:%.*]] = mpmd.transfer %arg0
// CHECK-NEXT: mpmd.fragment<mesh="island0", origin=["F0"]> (%arg0)
// CHECK:      mpmd.fragment<mesh="island1", origin=["F1"]> ([[SENT]])
// CHECK:      mpmd.fragment<mesh="island1", origin=["B1"]> ([[SENT]])
// CHECK-NOT:  mpmd.transfer
module attributes {atoll.stages = 2 : i32, atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>, tensor<4xf32>) {
    %0 = stablehlo.negate %x {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<4xf32>
    %1 = stablehlo.negate %x {atoll.stage = 1 : i32, atoll.sweep = 0 : i32} : tensor<4xf32>
    %2 = stablehlo.cosine %x {atoll.stage = 1 : i32, atoll.sweep = 1 : i32} : tensor<4xf32>
    return %0, %1, %2 : tensor<4xf32>, tensor<4xf32>, tensor<4xf32>
  }
}
