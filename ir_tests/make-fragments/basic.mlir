// RUN: atoll-opt %s --passes "make-fragments" | filecheck %s

// The operations of a stage become a fragment on its island, and a value that the next stage needs is sent there.

// CHECK-LABEL: @main(%arg0: !mpmd.mesh_tensor<"island0", tensor<4xf32>>) -> !mpmd.mesh_tensor<"island1", tensor<4xf32>>
// CHECK-SAME:  topology = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>
// CHECK-NEXT:  [[F0:%.*]] = mpmd.fragment<mesh="island0", origin=["F0"]> (%arg0)
// CHECK-SAME:      {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} ([[X:%.*]]: tensor<4xf32>) {
// CHECK-NEXT:    [[Y:%.*]] = stablehlo.negate [[X]] : tensor<4xf32>
// CHECK-NEXT:    mpmd.return [[Y]]
// CHECK:       [[SENT:%.*]] = mpmd.transfer [[F0]]
// CHECK-NEXT:  [[F1:%.*]] = mpmd.fragment<mesh="island1", origin=["F1"]> ([[SENT]])
// CHECK:       return [[F1]]
module attributes {atoll.stages = 2 : i32, atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
    %0 = stablehlo.negate %x {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<4xf32>
    %1 = stablehlo.cosine %0 {atoll.stage = 1 : i32, atoll.sweep = 0 : i32} : tensor<4xf32>
    return %1 : tensor<4xf32>
  }
}
