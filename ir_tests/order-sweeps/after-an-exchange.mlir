// RUN: atoll-opt %s --passes "order-sweeps" | filecheck %s

// Replicas exchange what a fragment has made, and go on with the result in a later one. What they have before that is
// exchanged before it.

// CHECK:      @atoll.exchange(%arg0)
// CHECK-SAME:   {atoll.exchange = "share", atoll.share = 0 : i32, atoll.stage = 0 : i32, atoll.sweep = 0 : i32}
// CHECK-NEXT: negate %0 {atoll.stage = 0 : i32, atoll.sweep = 0 : i32}
// CHECK-NEXT: @atoll.exchange(%1) {atoll.exchange = "add", atoll.stage = 0 : i32, atoll.sweep = 0 : i32}
// CHECK-NEXT: negate %1 {atoll.stage = 0 : i32, atoll.sweep = 0 : i32}
// CHECK-NEXT: add %2, %3 {atoll.stage = 1 : i32, atoll.sweep = 0 : i32}
// CHECK-NEXT: add %2, %3 {atoll.stage = 0 : i32, atoll.sweep = 1 : i32}
module attributes {atoll.stages = 2 : i32} {
  func.func @main(%x: tensor<4xf32>) -> (tensor<2xf32>, tensor<2xf32>) {
    %0 = stablehlo.custom_call @atoll.exchange(%x)
        {atoll.exchange = "share", atoll.share = 0 : i32, atoll.stage = 0 : i32} : (tensor<4xf32>) -> tensor<2xf32>
    %1 = stablehlo.negate %0 {atoll.stage = 0 : i32} : tensor<2xf32>
    %2 = stablehlo.custom_call @atoll.exchange(%1) {atoll.exchange = "add", atoll.stage = 0 : i32} : (tensor<2xf32>)
        -> tensor<2xf32>
    %3 = stablehlo.negate %1 {atoll.stage = 0 : i32} : tensor<2xf32>
    %4 = stablehlo.add %2, %3 {atoll.stage = 1 : i32} : tensor<2xf32>
    %5 = stablehlo.add %2, %3 {atoll.stage = 0 : i32} : tensor<2xf32>
    return %4, %5 : tensor<2xf32>, tensor<2xf32>
  }
}
