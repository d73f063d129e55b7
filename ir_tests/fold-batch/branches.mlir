// RUN: atoll-opt %s --passes "fold-batch" | filecheck %s

// A choice that does not depend on the example is made in each microbatch; a branch that gives the same value for all
// examples gives a block of it.

// CHECK:      mpmd.for
// CHECK-NEXT:   "stablehlo.case"(%arg0) ({
// CHECK-NEXT:     stablehlo.return %arg1 : tensor<2x3xf32>
// CHECK:          [[ZEROS:%.*]] = stablehlo.constant dense<0.000000e+00> : tensor<2x3xf32>
// CHECK-NEXT:     stablehlo.return [[ZEROS]]
module attributes {atoll.plan = "microbatches=4"} {
  func.func @main(%p: tensor<i32> {atoll.path = "p"}, %x: tensor<8x3xf32> {atoll.path = "x", atoll.batch})
      -> (tensor<8x3xf32> {atoll.path = "y"}) {
    %y = "stablehlo.case"(%p) ({
      stablehlo.return %x : tensor<8x3xf32>
    }, {
      %zeros = stablehlo.constant dense<0.0> : tensor<8x3xf32>
      stablehlo.return %zeros : tensor<8x3xf32>
    }) : (tensor<i32>) -> tensor<8x3xf32>
    return %y : tensor<8x3xf32>
  }
}
