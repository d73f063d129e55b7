// RUN: atoll-opt %s --passes "fold-batch" | filecheck %s

// Row numbers that NumPy counted are a constant, and so is whether they are negative: it is still each example's own
// row that is looked up.

// CHECK:      [[ASKED:%.*]] = stablehlo.concatenate
// CHECK:      [[STARTS:%.*]] = stablehlo.select
// CHECK-NEXT: [[OWN:%.*]] = stablehlo.subtract [[ASKED]], [[STARTS]] : tensor<2x2xi32>
// CHECK-NEXT: "stablehlo.gather"(%arg0, [[OWN]]) {{.*}} : (tensor<2x3xf32>, tensor<2x2xi32>) -> tensor<2xf32>
module attributes {atoll.plan = "microbatches=2"} {
  func.func @main(
      %x: tensor<4x3xf32> {atoll.path = "x", atoll.batch},
      %labels: tensor<4x1xi32> {atoll.path = "l", atoll.batch})
      -> (tensor<4xf32> {atoll.path = "y"}) {
    %numbers = stablehlo.constant dense<[[0], [1], [2], [3]]> : tensor<4x1xi32>
    %from_the_end = stablehlo.constant dense<[[4], [5], [6], [7]]> : tensor<4x1xi32>
    %is_negative = stablehlo.constant dense<false> : tensor<4x1xi1>
    %rows = stablehlo.select %is_negative, %from_the_end, %numbers : tensor<4x1xi1>, tensor<4x1xi32>
    %places = stablehlo.concatenate %rows, %labels, dim = 1 : (tensor<4x1xi32>, tensor<4x1xi32>) -> tensor<4x2xi32>
    %y = "stablehlo.gather"(%x, %places) <{dimension_numbers = #stablehlo.gather<collapsed_slice_dims = [0, 1],
        start_index_map = [0, 1], index_vector_dim = 1>, slice_sizes = array<i64: 1, 1>}> : (tensor<4x3xf32>,
        tensor<4x2xi32>) -> tensor<4xf32>
    return %y : tensor<4xf32>
  }
}
