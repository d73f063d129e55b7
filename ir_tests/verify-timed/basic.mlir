// RUN: atoll-opt %s --passes "verify-timed" | filecheck %s

// A loop over microbatches with a sum and with parts passes, and the module says so.

// CHECK: module attributes {atoll.phase = "timed"}
module attributes {atoll.phase = "stablehlo"} {
  func.func @main(%x: tensor<2xf32> {atoll.path = "x", atoll.batch, atoll.parts = 4 : i32})
      -> (tensor<f32> {atoll.path = "sum"}, tensor<2xf32> {atoll.path = "y", atoll.parts = 4 : i32,
      atoll.parts_dimension = 0 : i32},
          tensor<2xf32> {atoll.path = "x", atoll.parts = 4 : i32, atoll.parts_dimension = 0 : i32}) {
    %zero = stablehlo.constant dense<0.0> : tensor<f32>
    %none = stablehlo.constant dense<0.0> : tensor<2xf32>
    %0:2 = mpmd.for (%zero, %none) {iterations = 4 : ui32, atoll.parts = array<i64: 1>}
        (%sum: tensor<f32>, %_: tensor<2xf32>, %index: tensor<ui32>) {
      %y = stablehlo.negate %x : tensor<2xf32>
      %init = stablehlo.constant dense<0.0> : tensor<f32>
      %part = stablehlo.reduce(%y init: %init) applies stablehlo.add across dimensions = [0]
          : (tensor<2xf32>, tensor<f32>) -> tensor<f32>
      %next = stablehlo.add %sum, %part : tensor<f32>
      mpmd.return %next, %y : tensor<f32>, tensor<2xf32>
    } : tensor<f32>, tensor<2xf32>
    return %0#0, %0#1, %x : tensor<f32>, tensor<2xf32>, tensor<2xf32>
  }
}
