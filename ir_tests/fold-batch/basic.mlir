// RUN: atoll-opt %s --passes "fold-batch" | filecheck %s

// A product with the batch contracted is a sum; the result for each example is kept in parts; the update comes after
// the loop.

// CHECK:      func.func public @main([[W:%.*]]: tensor<4x4xf32> {atoll.path = "w"},
// CHECK-SAME:     [[X:%.*]]: tensor<2x4xf32> {atoll.batch, atoll.parts = 4 : i32, atoll.path = "x"})
// CHECK-SAME:     -> (tensor<4x4xf32> {atoll.path = "new"},
// CHECK-SAME:     tensor<2x4xf32> {atoll.parts = 4 : i32, atoll.parts_dimension = 0 : i32, atoll.path = "y"})
// CHECK-NEXT:   [[ZERO:%.*]] = stablehlo.constant dense<0.000000e+00> : tensor<4x4xf32>
// CHECK-NEXT:   [[NONE:%.*]] = stablehlo.constant dense<0.000000e+00> : tensor<2x4xf32>
// CHECK-NEXT:   [[LOOP:%.*]]:2 = mpmd.for ([[ZERO]], [[NONE]]) {atoll.parts = array<i64: 1>, iterations = 4 : ui32}
// CHECK-SAME:       ([[SUM:%.*]]: tensor<4x4xf32>, {{%.*}}: tensor<2x4xf32>, %index: tensor<ui32>)
// CHECK-NEXT:     [[Y:%.*]] = stablehlo.dot_general [[X]], [[W]], contracting_dims = [1] x [0]
// CHECK-SAME:       : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
// CHECK-NEXT:     [[PART:%.*]] = stablehlo.dot_general [[X]], [[Y]], contracting_dims = [0] x [0]
// CHECK-SAME:       : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<4x4xf32>
// CHECK-NEXT:     [[NEXT:%.*]] = stablehlo.add [[SUM]], [[PART]]
// CHECK-NEXT:     mpmd.return [[NEXT]], [[Y]]
// CHECK:        [[NEW:%.*]] = stablehlo.subtract [[W]], [[LOOP]]#0
// CHECK-NEXT:   return [[NEW]], [[LOOP]]#1
module attributes {atoll.plan = "microbatches=4"} {
  func.func public @main(%w: tensor<4x4xf32> {atoll.path = "w"}, %x: tensor<8x4xf32> {atoll.path = "x", atoll.batch})
      -> (tensor<4x4xf32> {atoll.path = "new"}, tensor<8x4xf32> {atoll.path = "y"}) {
    %y = stablehlo.dot_general %x, %w, contracting_dims = [1] x [0] : (tensor<8x4xf32>, tensor<4x4xf32>)
        -> tensor<8x4xf32>
    %gradient = stablehlo.dot_general %x, %y, contracting_dims = [0] x [0] : (tensor<8x4xf32>, tensor<8x4xf32>)
        -> tensor<4x4xf32>
    %new = stablehlo.subtract %w, %gradient : tensor<4x4xf32>
    return %new, %y : tensor<4x4xf32>, tensor<8x4xf32>
  }
}
