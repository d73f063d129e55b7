// RUN: atoll-opt %s --passes "copy-cheap-operations" | filecheck %s

// What @main returns of an exchange is made in a later fragment than what is exchanged.

// CHECK:      negate %arg0 {atoll.stage = 0 : i32, atoll.sweep = 0 : i32}
// CHECK-NEXT: @atoll.exchange(%0) {atoll.exchange = "add", atoll.stage = 0 : i32, atoll.sweep = 0 : i32}
// CHECK-NEXT: sqrt %1 {atoll.stage = 0 : i32, atoll.sweep = 1 : i32}
module attributes {atoll.stages = 1 : i32} {
  func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
    %0 = stablehlo.negate %x {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<4xf32>
    %1 = stablehlo.custom_call @atoll.exchange(%0)
        {atoll.exchange = "add", atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : (tensor<4xf32>) -> tensor<4xf32>
    %2 = stablehlo.sqrt %1 : tensor<4xf32>
    return %2 : tensor<4xf32>
  }
}
