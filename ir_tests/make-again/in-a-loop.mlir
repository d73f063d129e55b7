// RUN: atoll-opt %s --passes "make-again" | filecheck %s

// By the time of the way back the loop may have gone on, and with it the sum that the quotient is made of; and what it
// hands on to the next microbatch is there in any case.

// CHECK:     divide
// CHECK-NOT: divide
// CHECK:     minimum
// CHECK-NOT: minimum
module attributes {atoll.plan = "stages=1, microbatches=4", atoll.stages = 1 : i32, atoll.topology = "1 x cpu[1]"} {
  func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
    %zero = stablehlo.constant dense<0.0> : tensor<4xf32>
    %0:2 = mpmd.for (%zero, %zero) {atoll.role = "FB", iterations = 4 : ui32}
        (%a: tensor<4xf32>, %b: tensor<4xf32>, %i: tensor<ui32>) {
      %s = stablehlo.sine %x {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<4xf32>
      %q = stablehlo.divide %s, %a {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<4xf32>
      %m = stablehlo.minimum %s, %x {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<4xf32>
      %r = stablehlo.tanh %q {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<4xf32>
      %1 = stablehlo.multiply %q, %s {atoll.stage = 0 : i32, atoll.sweep = 1 : i32} : tensor<4xf32>
      %2 = stablehlo.multiply %1, %m {atoll.stage = 0 : i32, atoll.sweep = 1 : i32} : tensor<4xf32>
      %3 = stablehlo.add %2, %x {atoll.stage = 0 : i32, atoll.sweep = 1 : i32} : tensor<4xf32>
      %4 = stablehlo.add %3, %r {atoll.stage = 0 : i32, atoll.sweep = 1 : i32} : tensor<4xf32>
      %5 = stablehlo.add %4, %a {atoll.stage = 0 : i32, atoll.sweep = 1 : i32} : tensor<4xf32>
      mpmd.return %5, %m : tensor<4xf32>, tensor<4xf32>
    } : tensor<4xf32>, tensor<4xf32>
    return %0#0 : tensor<4xf32>
  }
}
