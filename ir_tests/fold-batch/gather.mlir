// RUN: atoll-opt %s --passes "fold-batch" | filecheck %s

// Each example looks up its own places, in a table that all share or in its own row; or all look up the same place, and
// then the size of the batch in slice_sizes becomes that of a microbatch.

// CHECK:      mpmd.for
// CHECK-NEXT:   "stablehlo.gather"(%arg2, %arg0) {{.*}} slice_sizes = array<i64: 1, 3>
// CHECK-SAME:     (tensor<7x3xf32>, tensor<2x1xi32>) -> tensor<2x3xf32>
// CHECK-NEXT:   "stablehlo.gather"(%arg1, %arg3) {{.*}} slice_sizes = array<i64: 2, 1, 3>
// CHECK-SAME:     (tensor<2x5x3xf32>, tensor<1xi32>) -> tensor<2x3xf32>
// CHECK-NEXT:   "stablehlo.gather"(%arg1, %arg0) {{.*}} slice_sizes = array<i64: 1, 1, 3>
// CHECK-SAME:     (tensor<2x5x3xf32>, tensor<2x1xi32>) -> tensor<2x3xf32>
module attributes {atoll.plan = "microbatches=4"} {
  func.func @main(
      %tokens: tensor<8x1xi32> {atoll.path = "tokens", atoll.batch},
      %x: tensor<8x5x3xf32> {atoll.path = "x", atoll.batch},
      %table: tensor<7x3xf32> {atoll.path = "table"}, %place: tensor<1xi32> {atoll.path = "place"})
      -> (tensor<8x3xf32> {atoll.path = "embedded"}, tensor<8x3xf32> {atoll.path = "row"},
      tensor<8x3xf32> {atoll.path = "own"}) {
    %embedded = "stablehlo.gather"(%table, %tokens) <{
        dimension_numbers = #stablehlo.gather<offset_dims = [1], collapsed_slice_dims = [0], start_index_map = [0],
        index_vector_dim = 1>, slice_sizes = array<i64: 1, 3>}> : (tensor<7x3xf32>, tensor<8x1xi32>) -> tensor<8x3xf32>
    %row = "stablehlo.gather"(%x, %place) <{
        dimension_numbers = #stablehlo.gather<offset_dims = [0, 1], collapsed_slice_dims = [1], start_index_map = [1]>,
        slice_sizes = array<i64: 8, 1, 3>}> : (tensor<8x5x3xf32>, tensor<1xi32>) -> tensor<8x3xf32>
    %own = "stablehlo.gather"(%x, %tokens) <{
        dimension_numbers = #stablehlo.gather<offset_dims = [1], collapsed_slice_dims = [1],
        operand_batching_dims = [0], start_indices_batching_dims = [0], start_index_map = [1], index_vector_dim = 1>,
        slice_sizes = array<i64: 1, 1, 3>}> : (tensor<8x5x3xf32>, tensor<8x1xi32>) -> tensor<8x3xf32>
    return %embedded, %row, %own : tensor<8x3xf32>, tensor<8x3xf32>, tensor<8x3xf32>
  }
}
