// RUN: atoll-opt %s --passes "make-fragments, verify-placed" | filecheck %s


// Of several loops the last one goes without a number. What stands in another loop, or in front of one, says which.
// CHECK-LABEL: func.func @main
// CHECK: origin=["L0.I0"]
// CHECK: mpmd.for {{.*}}atoll.role = "F"
// CHECK: origin=["I0"]
// CHECK: mpmd.for {{.*}}atoll.role = "FB"
// CHECK: origin=["U0"]
// CHECK-LABEL: func.func private @microbatch_0
// CHECK: origin=["L0.F0"]
// CHECK-LABEL: func.func private @microbatch(
// CHECK: origin=["F0"]
// CHECK: origin=["B0"]
module attributes {atoll.plan = "stages=1, microbatches=2", atoll.stages = 1 : i32, atoll.topology = "1 x cpu[1]"} {
  func.func @main(%x: tensor<4xf32> {atoll.path = "x", atoll.batch, atoll.parts = 2 : i32}) -> tensor<4xf32> {
    %zero = stablehlo.constant {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} dense<0.0> : tensor<4xf32>
    %0 = mpmd.for (%zero) {atoll.role = "F", iterations = 2 : ui32} (%s: tensor<4xf32>, %i: tensor<ui32>) {
      %1 = stablehlo.add %s, %x {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<4xf32>
      mpmd.return %1 : tensor<4xf32>
    } : tensor<4xf32>
    %one = stablehlo.constant {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} dense<0.0> : tensor<4xf32>
    %2 = mpmd.for (%one) {atoll.role = "FB", iterations = 2 : ui32} (%s: tensor<4xf32>, %i: tensor<ui32>) {
      %3 = stablehlo.multiply %0, %x {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<4xf32>
      %4 = stablehlo.add %s, %3 {atoll.stage = 0 : i32, atoll.sweep = 1 : i32} : tensor<4xf32>
      mpmd.return %4 : tensor<4xf32>
    } : tensor<4xf32>
    %5 = stablehlo.negate %2 {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<4xf32>
    return %5 : tensor<4xf32>
  }
}
