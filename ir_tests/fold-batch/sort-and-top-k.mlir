// RUN: atoll-opt %s --passes "fold-batch" | filecheck %s

// Sorting along another dimension sorts each example by itself.

// CHECK:      mpmd.for
// CHECK-NEXT:   "stablehlo.sort"(%arg0) <{dimension = 1 : i64, is_stable = true}>
// CHECK:        }) : (tensor<2x5xf32>) -> tensor<2x5xf32>
// CHECK-NEXT:   chlo.top_k(%arg0, k = 2) : tensor<2x5xf32> -> (tensor<2x2xf32>, tensor<2x2xi32>)
module attributes {atoll.plan = "microbatches=4"} {
  func.func @main(%x: tensor<8x5xf32> {atoll.path = "x", atoll.batch})
      -> (tensor<8x5xf32> {atoll.path = "sorted"}, tensor<8x2xf32> {atoll.path = "most"},
      tensor<8x2xi32> {atoll.path = "where"}) {
    %sorted = "stablehlo.sort"(%x) <{dimension = 1 : i64, is_stable = true}> ({
    ^bb0(%a: tensor<f32>, %b: tensor<f32>):
      %less = stablehlo.compare LT, %a, %b : (tensor<f32>, tensor<f32>) -> tensor<i1>
      stablehlo.return %less : tensor<i1>
    }) : (tensor<8x5xf32>) -> tensor<8x5xf32>
    %most, %where = chlo.top_k(%x, k = 2) : tensor<8x5xf32> -> (tensor<8x2xf32>, tensor<8x2xi32>)
    return %sorted, %most, %where : tensor<8x5xf32>, tensor<8x2xf32>, tensor<8x2xi32>
  }
}
