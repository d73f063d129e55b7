// RUN: atoll-opt %s --passes "make-fragments" | filecheck %s

// A value is sent on by the holder whose link is the fastest.

// CHECK:      [[NEAR:%.*]] = mpmd.transfer %arg0 : (!mpmd.mesh_tensor<"a", {{.*}}) -> !mpmd.mesh_tensor<"b",
// CHECK-NEXT: [[FAR:%.*]] = mpmd.transfer [[NEAR]] : (!mpmd.mesh_tensor<"b", {{.*}}) -> !mpmd.mesh_tensor<"c",
module
    attributes {atoll.stages = 3 : i32,
    atoll.topology = "island a : cpu[1]; island b : cpu[1]; island c : cpu[1]; link a <-> c : 1 MB/s, 1 s"} {
  func.func @main(%x: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>, tensor<4xf32>) {
    %0 = stablehlo.negate %x {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<4xf32>
    %1 = stablehlo.negate %x {atoll.stage = 1 : i32, atoll.sweep = 0 : i32} : tensor<4xf32>
    %2 = stablehlo.negate %x {atoll.stage = 2 : i32, atoll.sweep = 0 : i32} : tensor<4xf32>
    return %0, %1, %2 : tensor<4xf32>, tensor<4xf32>, tensor<4xf32>
  }
}
