// RUN: atoll-opt %s --passes "join-branches" | filecheck %s

// What replicas exchange stands between pieces of a choice: it takes one, and another one of a later fragment takes it.
// A piece of the first fragment comes last. Each choice is in front of what takes it.

// CHECK:      [[FIRST:%.*]]:2 = "stablehlo.case"(%arg0)
// CHECK:      }) {atoll.stage = 0 : i32, atoll.sweep = 0 : i32}
// CHECK-NEXT: [[SHARED:%.*]] = stablehlo.custom_call @atoll.exchange([[FIRST]]#0)
// CHECK-NEXT: [[LAST:%.*]] = "stablehlo.case"(%arg0)
// CHECK:        negate [[SHARED]]
// CHECK:      }) {atoll.stage = 0 : i32, atoll.sweep = 1 : i32}
// CHECK-NEXT: return [[LAST]], [[FIRST]]#1
module attributes {atoll.stages = 1 : i32} {
  func.func @main(%i: tensor<i32>, %x: tensor<4xf32>, %y: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>) {
    %0 = "stablehlo.case"(%i) ({
      stablehlo.return %x : tensor<4xf32>
    }, {
      %1 = stablehlo.sine %x : tensor<4xf32>
      stablehlo.return %1 : tensor<4xf32>
    }) {atoll.branches = 0 : i32, atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : (tensor<i32>) -> tensor<4xf32>
    %2 = stablehlo.custom_call @atoll.exchange(%0)
        {atoll.exchange = "add", atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : (tensor<4xf32>) -> tensor<4xf32>
    %3 = "stablehlo.case"(%i) ({
      stablehlo.return %y : tensor<4xf32>
    }, {
      %4 = stablehlo.negate %2 : tensor<4xf32>
      stablehlo.return %4 : tensor<4xf32>
    }) {atoll.branches = 0 : i32, atoll.stage = 0 : i32, atoll.sweep = 1 : i32} : (tensor<i32>) -> tensor<4xf32>
    %5 = "stablehlo.case"(%i) ({
      stablehlo.return %y : tensor<4xf32>
    }, {
      %6 = stablehlo.cosine %y : tensor<4xf32>
      stablehlo.return %6 : tensor<4xf32>
    }) {atoll.branches = 0 : i32, atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : (tensor<i32>) -> tensor<4xf32>
    return %3, %5 : tensor<4xf32>, tensor<4xf32>
  }
}
