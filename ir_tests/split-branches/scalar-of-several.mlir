// RUN: atoll-opt %s --passes "split-branches" | filecheck %s

// A scalar that is made of several is a piece, so that each summand can be computed where its array is; what is made of
// one scalar is copied.

// CHECK:      [[FIRST:%.*]] = "stablehlo.case"
// CHECK:        reduce(%arg1
// CHECK:      [[SECOND:%.*]] = "stablehlo.case"
// CHECK:        reduce(%arg2
// CHECK:      [[SUM:%.*]] = "stablehlo.case"
// CHECK:        add [[FIRST]], [[SECOND]]
// CHECK:      "stablehlo.case"
// CHECK:        [[ROOT:%.*]] = stablehlo.sqrt [[SUM]]
// CHECK-NEXT:   [[SPREAD:%.*]] = stablehlo.broadcast_in_dim [[ROOT]]
// CHECK-NEXT:   divide %arg1, [[SPREAD]]
// CHECK:      "stablehlo.case"
// CHECK:        [[ROOT:%.*]] = stablehlo.sqrt [[SUM]]
// CHECK-NEXT:   [[SPREAD:%.*]] = stablehlo.broadcast_in_dim [[ROOT]]
// CHECK-NEXT:   divide %arg2, [[SPREAD]]
func.func @main(%i: tensor<i32>, %x: tensor<4xf32>, %y: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>) {
  %0:2 = "stablehlo.case"(%i) ({
    stablehlo.return %x, %y : tensor<4xf32>, tensor<4xf32>
  }, {
    %z = stablehlo.constant dense<0.0> : tensor<f32>
    %1 = stablehlo.reduce(%x init: %z) applies stablehlo.add across dimensions = [0] : (tensor<4xf32>, tensor<f32>)
        -> tensor<f32>
    %2 = stablehlo.reduce(%y init: %z) applies stablehlo.add across dimensions = [0] : (tensor<4xf32>, tensor<f32>)
        -> tensor<f32>
    %3 = stablehlo.add %1, %2 : tensor<f32>
    %4 = stablehlo.sqrt %3 : tensor<f32>
    %5 = stablehlo.broadcast_in_dim %4, dims = [] : (tensor<f32>) -> tensor<4xf32>
    %6 = stablehlo.divide %x, %5 : tensor<4xf32>
    %7 = stablehlo.divide %y, %5 : tensor<4xf32>
    stablehlo.return %6, %7 : tensor<4xf32>, tensor<4xf32>
  }) : (tensor<i32>) -> (tensor<4xf32>, tensor<4xf32>)
  return %0#0, %0#1 : tensor<4xf32>, tensor<4xf32>
}
