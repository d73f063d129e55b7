// RUN: atoll-opt %s --passes "fold-batch" | filecheck %s

// Each microbatch sorts its own rows, counts its own keys, and puts its rows back; `starts <= place`
// and `place < ends` tell experts apart.

// CHECK:      mpmd.for
// CHECK:        [[OWN:%.*]] = stablehlo.iota dim = 0 : tensor<2xi32>
// CHECK-NEXT:   [[SORTED:%.*]]:2 = "stablehlo.sort"({{%.*}}, [[OWN]])
// CHECK:        "stablehlo.gather"{{.*}} -> tensor<2x4xf32>
// CHECK:        stablehlo.compare LT, {{%.*}}, {{%.*}} : (tensor<3x2xi32>, tensor<3x2xi32>) -> tensor<3x2xi1>
// CHECK:        stablehlo.compare LE, {{%.*}}, {{%.*}} : (tensor<3x2xi32>, tensor<3x2xi32>) -> tensor<3x2xi1>
// CHECK:        "stablehlo.scatter"
// CHECK:        mpmd.return {{%.*}} : tensor<2x4xf32>
module attributes {atoll.plan = "microbatches=4"} {
  func.func @main(%x: tensor<8x4xf32> {atoll.path = "x", atoll.batch},
      %scores: tensor<8x3xf32> {atoll.path = "s", atoll.batch}) -> (tensor<8x4xf32> {atoll.path = "result"}) {
    %zero = stablehlo.constant dense<0> : tensor<i32>
    %zeros = stablehlo.constant dense<0> : tensor<3xi32>
    %ones = stablehlo.constant dense<1> : tensor<8xi32>
    %none = stablehlo.constant dense<0.0> : tensor<8x4xf32>
    %nothing = stablehlo.constant dense<0.0> : tensor<f32>
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
    %ends = "stablehlo.reduce_window"(%counts, %zero) <{window_dimensions = array<i64: 3>,
        padding = dense<[[2, 0]]> : tensor<1x2xi64>}> ({
    ^bb0(%a: tensor<i32>, %b: tensor<i32>):
      %sum = stablehlo.add %a, %b : tensor<i32>
      stablehlo.return %sum : tensor<i32>
    }) : (tensor<3xi32>, tensor<i32>) -> tensor<3xi32>
    %limits = stablehlo.broadcast_in_dim %ends, dims = [0] : (tensor<3xi32>) -> tensor<3x8xi32>
    %places = stablehlo.iota dim = 1 : tensor<3x8xi32>
    %below = stablehlo.compare LT, %places, %limits : (tensor<3x8xi32>, tensor<3x8xi32>) -> tensor<3x8xi1>
    %starts = stablehlo.subtract %ends, %counts : tensor<3xi32>
    %firsts = stablehlo.broadcast_in_dim %starts, dims = [0] : (tensor<3xi32>) -> tensor<3x8xi32>
    %begun = stablehlo.compare LE, %firsts, %places : (tensor<3x8xi32>, tensor<3x8xi32>) -> tensor<3x8xi1>
    %own = stablehlo.and %begun, %below : tensor<3x8xi1>
    %weights = stablehlo.convert %own : (tensor<3x8xi1>) -> tensor<3x8xf32>
    %weight = stablehlo.reduce(%weights init: %nothing) applies stablehlo.add across dimensions = [0]
        : (tensor<3x8xf32>, tensor<f32>) -> tensor<8xf32>
    %each = stablehlo.broadcast_in_dim %weight, dims = [0] : (tensor<8xf32>) -> tensor<8x4xf32>
    %made = stablehlo.multiply %rows, %each : tensor<8x4xf32>
    %back = "stablehlo.scatter"(%none, %where, %made) <{scatter_dimension_numbers = #stablehlo.scatter<
        update_window_dims = [1], inserted_window_dims = [0], scatter_dims_to_operand_dims = [0],
        index_vector_dim = 1>}> ({
    ^bb0(%a: tensor<f32>, %b: tensor<f32>):
      %sum = stablehlo.add %a, %b : tensor<f32>
      stablehlo.return %sum : tensor<f32>
    }) : (tensor<8x4xf32>, tensor<8x1xi32>, tensor<8x4xf32>) -> tensor<8x4xf32>
    return %back : tensor<8x4xf32>
  }
}
