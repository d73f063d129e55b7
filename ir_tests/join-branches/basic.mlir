// RUN: atoll-opt %s --passes "join-branches" | filecheck %s
// RUN: atoll-opt %s --passes "split-branches, join-branches" | filecheck %s

// Pieces of one choice in the same fragment are joined again, in the order of the fragments. What one computes for
// another is no longer a result, and what each has a copy of is computed once.

// CHECK:      [[LEFT:%.*]]:2 = "stablehlo.case"(%arg0) ({
// CHECK-NEXT:   return %arg1, %arg2
// CHECK-NEXT: }, {
// CHECK-NEXT:   [[SUM:%.*]] = stablehlo.add %arg1, %arg2
// CHECK-NEXT:   [[SINE:%.*]] = stablehlo.sine [[SUM]]
// CHECK-NEXT:   [[BOTH:%.*]] = stablehlo.multiply [[SINE]], [[SUM]]
// CHECK-NEXT:   return [[SINE]], [[BOTH]]
// CHECK-NEXT: }) {atoll.stage = 0 : i32, atoll.sweep = 0 : i32}
// CHECK-NEXT: [[RIGHT:%.*]] = "stablehlo.case"(%arg0) ({
// CHECK-NEXT:   return %arg2
// CHECK-NEXT: }, {
// CHECK-NEXT:   [[COSINE:%.*]] = stablehlo.cosine [[LEFT]]#0
// CHECK-NEXT:   return [[COSINE]]
// CHECK-NEXT: }) {atoll.stage = 1 : i32, atoll.sweep = 0 : i32}
// CHECK-NEXT: return [[LEFT]]#1, [[RIGHT]]
module attributes {atoll.stages = 2 : i32} {
  func.func @main(%i: tensor<i32>, %x: tensor<4xf32>, %y: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>) {
    %0 = "stablehlo.case"(%i) ({
      stablehlo.return %x : tensor<4xf32>
    }, {
      %1 = stablehlo.add %x, %y : tensor<4xf32>
      %2 = stablehlo.sine %1 : tensor<4xf32>
      stablehlo.return %2 : tensor<4xf32>
    }) {atoll.branches = 0 : i32, atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : (tensor<i32>) -> tensor<4xf32>
    %3 = "stablehlo.case"(%i) ({
      stablehlo.return %y : tensor<4xf32>
    }, {
      %4 = stablehlo.cosine %0 : tensor<4xf32>
      stablehlo.return %4 : tensor<4xf32>
    }) {atoll.branches = 0 : i32, atoll.stage = 1 : i32, atoll.sweep = 0 : i32} : (tensor<i32>) -> tensor<4xf32>
    %5 = "stablehlo.case"(%i) ({
      stablehlo.return %y : tensor<4xf32>
    }, {
      %6 = stablehlo.add %x, %y : tensor<4xf32>
      %7 = stablehlo.multiply %0, %6 : tensor<4xf32>
      stablehlo.return %7 : tensor<4xf32>
    }) {atoll.branches = 0 : i32, atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : (tensor<i32>) -> tensor<4xf32>
    return %5, %3 : tensor<4xf32>, tensor<4xf32>
  }
}
