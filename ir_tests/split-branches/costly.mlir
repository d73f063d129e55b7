// RUN: atoll-opt %s --passes "split-branches" | filecheck %s

// Costly work is done once, in a piece of its own; the other branch gives zeros for it. A result that is that work
// itself needs no further piece.

// CHECK:      [[PRODUCT:%.*]] = "stablehlo.case"(%arg0) ({
// CHECK-NEXT:   return %arg1
// CHECK-NEXT: }, {
// CHECK-NEXT:   dot_general %arg1, %arg1
// CHECK:      [[SQUARE:%.*]] = "stablehlo.case"(%arg0) ({
// CHECK-NEXT:   constant dense<0.000000e+00>
// CHECK:      }, {
// CHECK-NEXT:   dot_general [[PRODUCT]], [[PRODUCT]]
// CHECK:      [[SINE:%.*]] = "stablehlo.case"(%arg0) ({
// CHECK-NEXT:   return %arg1
// CHECK-NEXT: }, {
// CHECK-NEXT:   sine [[SQUARE]]
// CHECK:      [[COSINE:%.*]] = "stablehlo.case"(%arg0) ({
// CHECK-NEXT:   return %arg1
// CHECK-NEXT: }, {
// CHECK-NEXT:   cosine [[SQUARE]]
// CHECK:      return [[PRODUCT]], [[SINE]], [[COSINE]]
func.func @main(%i: tensor<i32>, %x: tensor<4x4xf32>) -> (tensor<4x4xf32>, tensor<4x4xf32>, tensor<4x4xf32>) {
  %0:3 = "stablehlo.case"(%i) ({
    stablehlo.return %x, %x, %x : tensor<4x4xf32>, tensor<4x4xf32>, tensor<4x4xf32>
  }, {
    %1 = stablehlo.dot_general %x, %x, contracting_dims = [1] x [0] : (tensor<4x4xf32>, tensor<4x4xf32>)
        -> tensor<4x4xf32>
    %2 = stablehlo.dot_general %1, %1, contracting_dims = [1] x [0] : (tensor<4x4xf32>, tensor<4x4xf32>)
        -> tensor<4x4xf32>
    %3 = stablehlo.sine %2 : tensor<4x4xf32>
    %4 = stablehlo.cosine %2 : tensor<4x4xf32>
    stablehlo.return %1, %3, %4 : tensor<4x4xf32>, tensor<4x4xf32>, tensor<4x4xf32>
  }) : (tensor<i32>) -> (tensor<4x4xf32>, tensor<4x4xf32>, tensor<4x4xf32>)
  return %0#0, %0#1, %0#2 : tensor<4x4xf32>, tensor<4x4xf32>, tensor<4x4xf32>
}
