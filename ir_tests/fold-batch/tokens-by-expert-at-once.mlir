// RUN: atoll-opt %s --passes "fold-batch" | filecheck %s

// What multiplies rows by the weights of their group takes those of a microbatch, and counts its own keys; the gradient
// of the weights is a sum over microbatches, group by group.

// CHECK:      mpmd.for
// CHECK:        [[SORTED:%.*]]:2 = "stablehlo.sort"
// CHECK:        [[ROWS:%.*]] = "stablehlo.gather"{{.*}} -> tensor<4x4xf32>
// CHECK:        [[SIZES:%.*]] = "stablehlo.scatter"
// CHECK:        [[MADE:%.*]] = "chlo.ragged_dot"([[ROWS]], %arg0, [[SIZES]])
// CHECK-SAME:     -> tensor<4x4xf32>
// CHECK:        [[PART:%.*]] = "chlo.ragged_dot"([[ROWS]], [[MADE]], [[SIZES]])
// CHECK-SAME:     -> tensor<3x4x4xf32>
// CHECK:        stablehlo.add {{%.*}}, [[PART]] : tensor<3x4x4xf32>
module attributes {atoll.plan = "microbatches=2"} {
  func.func @main(%w: tensor<3x4x4xf32> {atoll.path = "w"}, %x: tensor<8x4xf32> {atoll.path = "x", atoll.batch},
      %scores: tensor<8x3xf32> {atoll.path = "s", atoll.batch}) -> (tensor<8x4xf32> {atoll.path = "y"},
      tensor<3x4x4xf32> {atoll.path = "g"}) {
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
    %zero = stablehlo.constant dense<0.0> : tensor<8x4xf32>
    %made = "chlo.ragged_dot"(%rows, %w, %counts) <{ragged_dot_dimension_numbers = #chlo.ragged_dot<
        lhs_contracting_dimensions = [1], rhs_contracting_dimensions = [1],
        lhs_ragged_dimensions = [0], rhs_group_dimensions = [0]>}>
        : (tensor<8x4xf32>, tensor<3x4x4xf32>, tensor<3xi32>) -> tensor<8x4xf32>
    %back = "stablehlo.scatter"(%zero, %where, %made) <{scatter_dimension_numbers = #stablehlo.scatter<
        update_window_dims = [1], inserted_window_dims = [0], scatter_dims_to_operand_dims = [0],
        index_vector_dim = 1>}> ({
    ^bb0(%a: tensor<f32>, %b: tensor<f32>):
      %sum = stablehlo.add %a, %b : tensor<f32>
      stablehlo.return %sum : tensor<f32>
    }) : (tensor<8x4xf32>, tensor<8x1xi32>, tensor<8x4xf32>) -> tensor<8x4xf32>
    %sum = "chlo.ragged_dot"(%rows, %made, %counts) <{ragged_dot_dimension_numbers = #chlo.ragged_dot<
        lhs_contracting_dimensions = [0], rhs_contracting_dimensions = [0],
        lhs_ragged_dimensions = [0]>}>
        : (tensor<8x4xf32>, tensor<8x4xf32>, tensor<3xi32>) -> tensor<3x4x4xf32>
    return %back, %sum : tensor<8x4xf32>, tensor<3x4x4xf32>
  }
}
