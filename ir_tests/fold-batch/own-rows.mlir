// RUN: atoll-opt %s --passes "fold-batch" | filecheck %s

// `x[arange(n), labels]` looks up each example in its own row, whose number within a microbatch is another one.

// CHECK:      [[ASKED:%.*]] = stablehlo.concatenate
// CHECK:      [[STARTS:%.*]] = stablehlo.select
// CHECK-NEXT: [[OWN:%.*]] = stablehlo.subtract [[ASKED]], [[STARTS]] : tensor<2x2xi32>
// CHECK-NEXT: "stablehlo.gather"(%arg0, [[OWN]]) {{.*}} : (tensor<2x3xf32>, tensor<2x2xi32>) -> tensor<2xf32>
module attributes {atoll.plan = "microbatches=4"} {
  func.func @main(
      %x: tensor<8x3xf32> {atoll.path = "x", atoll.batch},
      %labels: tensor<8x1xi32> {atoll.path = "l", atoll.batch})
      -> (tensor<8xf32> {atoll.path = "y"}) {
    %rows = stablehlo.iota dim = 0 : tensor<8x1xi32>
    %places = stablehlo.concatenate %rows, %labels, dim = 1 : (tensor<8x1xi32>, tensor<8x1xi32>) -> tensor<8x2xi32>
    %y = "stablehlo.gather"(%x, %places) <{dimension_numbers = #stablehlo.gather<collapsed_slice_dims = [0, 1],
        start_index_map = [0, 1], index_vector_dim = 1>, slice_sizes = array<i64: 1, 1>}> : (tensor<8x3xf32>,
        tensor<8x2xi32>) -> tensor<8xf32>
    return %y : tensor<8xf32>
  }
}
