// RUN: atoll-opt %s --passes "split-branches, join-branches" | filecheck %s

// Joined again, all is as it was, nested branches included; what chooses is computed once.

// CHECK:      [[BOTH:%.*]]:2 = "stablehlo.case"(%arg0) ({
// CHECK-NEXT:   return %arg1, %arg2
// CHECK-NEXT: }, {
// CHECK-NEXT:   [[INNER:%.*]] = stablehlo.negate %arg0
// CHECK-NEXT:   [[TWO:%.*]]:2 = "stablehlo.case"([[INNER]]) ({
// CHECK-NEXT:     [[SINE:%.*]] = stablehlo.sine %arg1
// CHECK-NEXT:     [[COSINE:%.*]] = stablehlo.cosine %arg2
// CHECK-NEXT:     return [[SINE]], [[COSINE]]
// CHECK-NEXT:   }, {
// CHECK-NEXT:     return %arg1, %arg2
// CHECK-NEXT:   })
// CHECK-NEXT:   return [[TWO]]#0, [[TWO]]#1
// CHECK-NEXT: })
// CHECK-NEXT: return [[BOTH]]#0, [[BOTH]]#1
module attributes {atoll.stages = 1 : i32} {
  func.func @main(%i: tensor<i32>, %x: tensor<4xf32>, %y: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>) {
    %0:2 = "stablehlo.case"(%i) ({
      stablehlo.return %x, %y : tensor<4xf32>, tensor<4xf32>
    }, {
      %j = stablehlo.negate %i : tensor<i32>
      %1:2 = "stablehlo.case"(%j) ({
        %2 = stablehlo.sine %x : tensor<4xf32>
        %3 = stablehlo.cosine %y : tensor<4xf32>
        stablehlo.return %2, %3 : tensor<4xf32>, tensor<4xf32>
      }, {
        stablehlo.return %x, %y : tensor<4xf32>, tensor<4xf32>
      }) : (tensor<i32>) -> (tensor<4xf32>, tensor<4xf32>)
      stablehlo.return %1#0, %1#1 : tensor<4xf32>, tensor<4xf32>
    }) : (tensor<i32>) -> (tensor<4xf32>, tensor<4xf32>)
    return %0#0, %0#1 : tensor<4xf32>, tensor<4xf32>
  }
}
