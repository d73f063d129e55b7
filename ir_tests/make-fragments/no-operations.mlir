// RUN: atoll-opt %s --passes "make-fragments" | filecheck %s

// A function without operations has no fragment; its argument is returned from the first island.

// CHECK:      @main(%arg0: !mpmd.mesh_tensor<"island0", tensor<4xf32>>) -> !mpmd.mesh_tensor<"island0", tensor<4xf32>>
// CHECK-NEXT: return %arg0
module attributes {atoll.stages = 2 : i32, atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
    return %x : tensor<4xf32>
  }
}
