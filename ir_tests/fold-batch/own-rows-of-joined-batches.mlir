// RUN: atoll-opt %s --passes "fold-batch" | filecheck %s

// Each of the examples of two batches one after another is looked up in its own row: indices that count on from block
// to block are counted in the rows that the microbatch has.

// CHECK:      mpmd.for
// CHECK:        [[BOTH:%.*]] = stablehlo.concatenate %arg0, %arg0, dim = 0
// CHECK:        [[COUNTED:%.*]] = stablehlo.iota dim = 0 : tensor<4x1xi32>
// CHECK:        [[ROWS:%.*]] = stablehlo.add [[COUNTED]], {{%.*}} : tensor<4x1xi32>
// CHECK:        stablehlo.convert
// CHECK:        [[SKIPPED:%.*]] = stablehlo.multiply {{%.*}} : tensor<4x1xi32>
// CHECK-NEXT:   [[AHEAD:%.*]] = stablehlo.add {{%.*}}, [[SKIPPED]]
// CHECK-NEXT:   [[OWN:%.*]] = stablehlo.subtract [[ROWS]], [[AHEAD]]
// CHECK-NEXT:   "stablehlo.gather"([[BOTH]], [[OWN]])
module attributes {atoll.plan = "microbatches=2"} {
  func.func @main(%x: tensor<4x3xf32> {atoll.path = "x", atoll.batch}) -> (tensor<2x4x3xf32> {atoll.path = "y"}) {
    %both = stablehlo.concatenate %x, %x, dim = 0 : (tensor<4x3xf32>, tensor<4x3xf32>) -> tensor<8x3xf32>
    %rows = stablehlo.iota dim = 0 : tensor<8x1xi32>
    %looked_up = "stablehlo.gather"(%both, %rows) <{
        dimension_numbers = #stablehlo.gather<offset_dims = [1], collapsed_slice_dims = [0], start_index_map = [0],
            index_vector_dim = 1>,
        slice_sizes = array<i64: 1, 3>}> : (tensor<8x3xf32>, tensor<8x1xi32>) -> tensor<8x3xf32>
    %y = stablehlo.reshape %looked_up : (tensor<8x3xf32>) -> tensor<2x4x3xf32>
    return %y : tensor<2x4x3xf32>
  }
}
