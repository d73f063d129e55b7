// RUN: atoll-opt %s --passes "make-fragments" | filecheck %s

// Forward, backward, update and what follows are named in the order in which values flow.

// CHECK: origin=["F0"]
// CHECK: origin=["F1"]
// CHECK: origin=["B1"]
// CHECK: origin=["B0"]
// CHECK: origin=["U0"]
// CHECK: origin=["U1"]
// CHECK: origin=["U1.1"]
// CHECK: origin=["U0.1"]
module attributes {atoll.stages = 2 : i32, atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
    %0 = stablehlo.negate %x {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<4xf32>
    %1 = stablehlo.negate %0 {atoll.stage = 1 : i32, atoll.sweep = 0 : i32} : tensor<4xf32>
    %2 = stablehlo.negate %1 {atoll.stage = 1 : i32, atoll.sweep = 1 : i32} : tensor<4xf32>
    %3 = stablehlo.negate %2 {atoll.stage = 0 : i32, atoll.sweep = 1 : i32} : tensor<4xf32>
    %4 = stablehlo.negate %3 {atoll.stage = 0 : i32, atoll.sweep = 2 : i32} : tensor<4xf32>
    %5 = stablehlo.negate %4 {atoll.stage = 1 : i32, atoll.sweep = 2 : i32} : tensor<4xf32>
    %6 = stablehlo.negate %5 {atoll.stage = 1 : i32, atoll.sweep = 3 : i32} : tensor<4xf32>
    %7 = stablehlo.negate %6 {atoll.stage = 0 : i32, atoll.sweep = 3 : i32} : tensor<4xf32>
    return %7 : tensor<4xf32>
  }
}
