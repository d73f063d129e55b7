// RUN: atoll-opt %s --passes "fold-batch" | filecheck %s

// What a sum starts from joins it once, after the loop; sums of narrow floats are kept in wide ones.

// CHECK:      [[ZERO:%.*]] = stablehlo.constant dense<0.000000e+00> : tensor<5xf32>
// CHECK-NEXT: [[SUM:%.*]] = mpmd.for ([[ZERO]])
// CHECK:        [[NONE:%.*]] = stablehlo.constant dense<0.000000e+00> : tensor<5xbf16>
// CHECK:        [[PART:%.*]] = "stablehlo.scatter"([[NONE]],
// CHECK:        [[WIDE:%.*]] = stablehlo.convert [[PART]] : (tensor<5xbf16>) -> tensor<5xf32>
// CHECK-NEXT:   stablehlo.add {{%.*}}, [[WIDE]]
// CHECK:      [[BASE:%.*]] = stablehlo.convert %arg0 : (tensor<5xbf16>) -> tensor<5xf32>
// CHECK-NEXT: [[ALL:%.*]] = stablehlo.add [[BASE]], [[SUM]] : tensor<5xf32>
// CHECK-NEXT: stablehlo.convert [[ALL]] : (tensor<5xf32>) -> tensor<5xbf16>
module attributes {atoll.plan = "microbatches=2"} {
  func.func @main(%counts: tensor<5xbf16> {atoll.path = "counts"}, %x: tensor<4x1xi32> {atoll.path = "x", atoll.batch})
      -> (tensor<5xbf16> {atoll.path = "result"}) {
    %one = stablehlo.constant dense<1.0> : tensor<4xbf16>
    %0 = "stablehlo.scatter"(%counts, %x, %one)
        <{scatter_dimension_numbers = #stablehlo.scatter<inserted_window_dims = [0], scatter_dims_to_operand_dims = [0],
        index_vector_dim = 1>}> ({
    ^bb0(%a: tensor<bf16>, %b: tensor<bf16>):
      %sum = stablehlo.add %a, %b : tensor<bf16>
      stablehlo.return %sum : tensor<bf16>
    }) : (tensor<5xbf16>, tensor<4x1xi32>, tensor<4xbf16>) -> tensor<5xbf16>
    return %0 : tensor<5xbf16>
  }
}
