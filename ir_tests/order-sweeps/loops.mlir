// RUN: atoll-opt %s --passes "order-sweeps" | filecheck %s


// Every loop over microbatches gets its role: the first one goes over the stages forward, the last one there and back.
// CHECK: mpmd.for {{.*}}atoll.role = "F"
// CHECK: mpmd.for {{.*}}atoll.role = "FB"
module attributes {atoll.plan = "stages=2, microbatches=2", atoll.stages = 2 : i32, atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: tensor<4xf32> {atoll.path = "x", atoll.batch, atoll.parts = 2 : i32}) -> tensor<4xf32> {
    %zero = stablehlo.constant {atoll.stage = 0 : i32} dense<0.0> : tensor<4xf32>
    %0 = mpmd.for (%zero) {iterations = 2 : ui32} (%s: tensor<4xf32>, %i: tensor<ui32>) {
      %1 = stablehlo.add %s, %x {atoll.stage = 0 : i32} : tensor<4xf32>
      mpmd.return %1 : tensor<4xf32>
    } : tensor<4xf32>
    %2 = mpmd.for (%zero) {iterations = 2 : ui32} (%s: tensor<4xf32>, %i: tensor<ui32>) {
      %3 = stablehlo.multiply %0, %x {atoll.stage = 0 : i32} : tensor<4xf32>
      %4 = stablehlo.negate %3 {atoll.stage = 1 : i32} : tensor<4xf32>
      %5 = stablehlo.add %s, %4 {atoll.stage = 0 : i32} : tensor<4xf32>
      mpmd.return %5 : tensor<4xf32>
    } : tensor<4xf32>
    return %2 : tensor<4xf32>
  }
}
