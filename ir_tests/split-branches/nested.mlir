// RUN: atoll-opt %s --passes "split-branches" | filecheck %s

// Nested branches are split first, and each of their pieces then stands alone.

// CHECK:      "stablehlo.case"(%arg0) ({
// CHECK-NEXT:   return %arg1
// CHECK-NEXT: }, {
// CHECK-NEXT:   "stablehlo.case"(%arg0) ({
// CHECK-NEXT:     sine %arg1
// CHECK:        }) {atoll.branches = 0 : i32}
// CHECK:      }) {atoll.branches = 1 : i32}
// CHECK-NEXT: "stablehlo.case"(%arg0) ({
// CHECK-NEXT:   return %arg2
// CHECK-NEXT: }, {
// CHECK-NEXT:   "stablehlo.case"(%arg0) ({
// CHECK-NEXT:     cosine %arg2
// CHECK:        }) {atoll.branches = 0 : i32}
// CHECK:      }) {atoll.branches = 1 : i32}
func.func @main(%i: tensor<i32>, %x: tensor<4xf32>, %y: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>) {
  %0:2 = "stablehlo.case"(%i) ({
    stablehlo.return %x, %y : tensor<4xf32>, tensor<4xf32>
  }, {
    %1:2 = "stablehlo.case"(%i) ({
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
