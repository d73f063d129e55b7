// RUN: atoll-opt %s --passes "fold-batch" --verify-diagnostics --split-input-file

// Examples in their own order, in groups.

module attributes {atoll.plan = "microbatches=2"} {
  func.func @main(%w: tensor<3x4x4xf32> {atoll.path = "w"}, %x: tensor<8x4xf32> {atoll.path = "x", atoll.batch},
      %scores: tensor<8x3xf32> {atoll.path = "s", atoll.batch}) -> (tensor<8x4xf32> {atoll.path = "y"}) {
    %zeros = stablehlo.constant dense<0> : tensor<3xi32>
    %ones = stablehlo.constant dense<1> : tensor<8xi32>
    %most, %kinds = chlo.top_k(%scores, k = 1) : tensor<8x3xf32> -> (tensor<8x1xf32>, tensor<8x1xi32>)
    %key = stablehlo.reshape %kinds : (tensor<8x1xi32>) -> tensor<8xi32>
    %numbers = stablehlo.iota dim = 0 : tensor<8xi32>
    %sorted, %order = "stablehlo.sort"(%key, %numbers) <{dimension = 0 : i64, is_stable = true}> ({
    ^bb0(%a: tensor<i32>, %b: tensor<i32>, %c: tensor<i32>, %d: tensor<i32>):
      %less = stablehlo.compare LT, %a, %b : (tensor<i32>, tensor<i32>) -> tensor<i1>
      stablehlo.return %less : tensor<i1>
    }) : (tensor<8xi32>, tensor<8xi32>) -> (tensor<8xi32>, tensor<8xi32>)
    %where = stablehlo.reshape %order : (tensor<8xi32>) -> tensor<8x1xi32>
    %rows = "stablehlo.gather"(%x, %where) <{dimension_numbers = #stablehlo.gather<offset_dims = [1],
        collapsed_slice_dims = [0], start_index_map = [0], index_vector_dim = 1>, slice_sizes = array<i64: 1, 4>}>
        : (tensor<8x4xf32>, tensor<8x1xi32>) -> tensor<8x4xf32>
    %counts = "stablehlo.scatter"(%zeros, %kinds, %ones) <{scatter_dimension_numbers = #stablehlo.scatter<
        inserted_window_dims = [0], scatter_dims_to_operand_dims = [0], index_vector_dim = 1>}> ({
    ^bb0(%a: tensor<i32>, %b: tensor<i32>):
      %sum = stablehlo.add %a, %b : tensor<i32>
      stablehlo.return %sum : tensor<i32>
    }) : (tensor<3xi32>, tensor<8x1xi32>, tensor<8xi32>) -> tensor<3xi32>
    // expected-error @below {{ragged_dot multiplies examples in groups that are not those of a sort before}}
    %made = "chlo.ragged_dot"(%x, %w, %counts) <{ragged_dot_dimension_numbers = #chlo.ragged_dot<
        lhs_contracting_dimensions = [1], rhs_contracting_dimensions = [1],
        lhs_ragged_dimensions = [0], rhs_group_dimensions = [0]>}>
        : (tensor<8x4xf32>, tensor<3x4x4xf32>, tensor<3xi32>) -> tensor<8x4xf32>
    return %made : tensor<8x4xf32>
  }
}

// -----

// The sizes of the groups are no numbers of rows.

module attributes {atoll.plan = "microbatches=2"} {
  func.func @main(%w: tensor<3x4x4xf32> {atoll.path = "w"}, %x: tensor<8x4xf32> {atoll.path = "x", atoll.batch},
      %scores: tensor<8x3xf32> {atoll.path = "s", atoll.batch}) -> (tensor<8x4xf32> {atoll.path = "y"}) {
    %zeros = stablehlo.constant dense<0> : tensor<3xi32>
    %ones = stablehlo.constant dense<1> : tensor<8xi32>
    %most, %kinds = chlo.top_k(%scores, k = 1) : tensor<8x3xf32> -> (tensor<8x1xf32>, tensor<8x1xi32>)
    %key = stablehlo.reshape %kinds : (tensor<8x1xi32>) -> tensor<8xi32>
    %numbers = stablehlo.iota dim = 0 : tensor<8xi32>
    %sorted, %order = "stablehlo.sort"(%key, %numbers) <{dimension = 0 : i64, is_stable = true}> ({
    ^bb0(%a: tensor<i32>, %b: tensor<i32>, %c: tensor<i32>, %d: tensor<i32>):
      %less = stablehlo.compare LT, %a, %b : (tensor<i32>, tensor<i32>) -> tensor<i1>
      stablehlo.return %less : tensor<i1>
    }) : (tensor<8xi32>, tensor<8xi32>) -> (tensor<8xi32>, tensor<8xi32>)
    %where = stablehlo.reshape %order : (tensor<8xi32>) -> tensor<8x1xi32>
    %rows = "stablehlo.gather"(%x, %where) <{dimension_numbers = #stablehlo.gather<offset_dims = [1],
        collapsed_slice_dims = [0], start_index_map = [0], index_vector_dim = 1>, slice_sizes = array<i64: 1, 4>}>
        : (tensor<8x4xf32>, tensor<8x1xi32>) -> tensor<8x4xf32>
    %counts = "stablehlo.scatter"(%zeros, %kinds, %ones) <{scatter_dimension_numbers = #stablehlo.scatter<
        inserted_window_dims = [0], scatter_dims_to_operand_dims = [0], index_vector_dim = 1>}> ({
    ^bb0(%a: tensor<i32>, %b: tensor<i32>):
      %sum = stablehlo.add %a, %b : tensor<i32>
      stablehlo.return %sum : tensor<i32>
    }) : (tensor<3xi32>, tensor<8x1xi32>, tensor<8xi32>) -> tensor<3xi32>
    %sizes = stablehlo.constant dense<[1, 2, 5]> : tensor<3xi32>
    // expected-error @below {{ragged_dot multiplies rows in groups of other sizes than those that their sort has put together}}
    %made = "chlo.ragged_dot"(%rows, %w, %sizes) <{ragged_dot_dimension_numbers = #chlo.ragged_dot<
        lhs_contracting_dimensions = [1], rhs_contracting_dimensions = [1],
        lhs_ragged_dimensions = [0], rhs_group_dimensions = [0]>}>
        : (tensor<8x4xf32>, tensor<3x4x4xf32>, tensor<3xi32>) -> tensor<8x4xf32>
    return %made : tensor<8x4xf32>
  }
}

// -----

// Of two arrays of rows one is in the order of the examples.

module attributes {atoll.plan = "microbatches=2"} {
  func.func @main(%w: tensor<3x4x4xf32> {atoll.path = "w"}, %x: tensor<8x4xf32> {atoll.path = "x", atoll.batch},
      %scores: tensor<8x3xf32> {atoll.path = "s", atoll.batch}) -> (tensor<3x4x4xf32> {atoll.path = "y"}) {
    %zeros = stablehlo.constant dense<0> : tensor<3xi32>
    %ones = stablehlo.constant dense<1> : tensor<8xi32>
    %most, %kinds = chlo.top_k(%scores, k = 1) : tensor<8x3xf32> -> (tensor<8x1xf32>, tensor<8x1xi32>)
    %key = stablehlo.reshape %kinds : (tensor<8x1xi32>) -> tensor<8xi32>
    %numbers = stablehlo.iota dim = 0 : tensor<8xi32>
    %sorted, %order = "stablehlo.sort"(%key, %numbers) <{dimension = 0 : i64, is_stable = true}> ({
    ^bb0(%a: tensor<i32>, %b: tensor<i32>, %c: tensor<i32>, %d: tensor<i32>):
      %less = stablehlo.compare LT, %a, %b : (tensor<i32>, tensor<i32>) -> tensor<i1>
      stablehlo.return %less : tensor<i1>
    }) : (tensor<8xi32>, tensor<8xi32>) -> (tensor<8xi32>, tensor<8xi32>)
    %where = stablehlo.reshape %order : (tensor<8xi32>) -> tensor<8x1xi32>
    %rows = "stablehlo.gather"(%x, %where) <{dimension_numbers = #stablehlo.gather<offset_dims = [1],
        collapsed_slice_dims = [0], start_index_map = [0], index_vector_dim = 1>, slice_sizes = array<i64: 1, 4>}>
        : (tensor<8x4xf32>, tensor<8x1xi32>) -> tensor<8x4xf32>
    %counts = "stablehlo.scatter"(%zeros, %kinds, %ones) <{scatter_dimension_numbers = #stablehlo.scatter<
        inserted_window_dims = [0], scatter_dims_to_operand_dims = [0], index_vector_dim = 1>}> ({
    ^bb0(%a: tensor<i32>, %b: tensor<i32>):
      %sum = stablehlo.add %a, %b : tensor<i32>
      stablehlo.return %sum : tensor<i32>
    }) : (tensor<3xi32>, tensor<8x1xi32>, tensor<8xi32>) -> tensor<3xi32>
    // expected-error @below {{ragged_dot takes rows in the order of a sort beside examples in their own order}}
    %made = "chlo.ragged_dot"(%rows, %x, %counts) <{ragged_dot_dimension_numbers = #chlo.ragged_dot<
        lhs_contracting_dimensions = [0], rhs_contracting_dimensions = [0],
        lhs_ragged_dimensions = [0]>}>
        : (tensor<8x4xf32>, tensor<8x4xf32>, tensor<3xi32>) -> tensor<3x4x4xf32>
    return %made : tensor<3x4x4xf32>
  }
}
