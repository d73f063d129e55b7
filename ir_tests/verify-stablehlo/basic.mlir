// RUN: atoll-opt %s --passes "verify-stablehlo" | filecheck %s

// The module says which phase it is in, and nothing else changes. A mesh may stand beside @main.

// CHECK:      module @jit_step attributes {atoll.phase = "stablehlo"}
// CHECK-NEXT:   sdy.mesh @mesh
// CHECK-NEXT:   @main(%arg0: tensor<8x4xf32> {atoll.batch, atoll.path = "batch['x']"}
module @jit_step {
  sdy.mesh @mesh = <["data"=2]>
  func.func @main(
      %x: tensor<8x4xf32> {atoll.batch, atoll.path = "batch['x']"},
      %y: tensor<8xf32> {atoll.batch, atoll.path = "batch['y']"})
      -> (tensor<8xf32> {atoll.path = "result[0]"}, tensor<8x4xf32> {atoll.path = "result[1]"}) {
    return %y, %x : tensor<8xf32>, tensor<8x4xf32>
  }
}
