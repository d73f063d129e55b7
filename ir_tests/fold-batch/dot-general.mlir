// RUN: atoll-opt %s --passes "fold-batch" | filecheck %s

// Where the batch is free, with or without a batching dimension beside it, or is one itself, a product is computed for
// one microbatch; where it is contracted, the product is a sum over microbatches.

// CHECK:      mpmd.for
// CHECK-NEXT:   [[FREE:%.*]] = stablehlo.dot_general %arg0, %arg2, contracting_dims = [1] x [0]
// CHECK-SAME:     -> tensor<2x5xf32>
// CHECK-NEXT:   [[PART:%.*]] = stablehlo.dot_general %arg0, %arg1, contracting_dims = [0] x [0]
// CHECK-SAME:     -> tensor<3x5xf32>
// CHECK-NEXT:   [[BATCHING:%.*]] = stablehlo.dot_general %arg0, %arg1, batching_dims = [0] x [0]
// CHECK-SAME:     -> tensor<2x3x5xf32>
// CHECK-NEXT:   [[TURNED:%.*]] = stablehlo.dot_general %arg2, %arg0, contracting_dims = [0] x [1]
// CHECK-SAME:     -> tensor<5x2xf32>
// CHECK-NEXT:   [[BESIDE:%.*]] = stablehlo.dot_general %arg2, %arg0, batching_dims = [0] x [1]
// CHECK-SAME:     -> tensor<3x5x2xf32>
// CHECK-NEXT:   [[SUM:%.*]] = stablehlo.add %arg3, [[PART]]
// CHECK-NEXT:   mpmd.return [[SUM]], [[FREE]], [[BATCHING]], [[TURNED]], [[BESIDE]]
module attributes {atoll.plan = "microbatches=4"} {
  func.func @main(
      %x: tensor<8x3xf32> {atoll.path = "x", atoll.batch},
      %y: tensor<8x5xf32> {atoll.path = "y", atoll.batch},
      %w: tensor<3x5xf32> {atoll.path = "w"})
      -> (tensor<8x5xf32> {atoll.path = "free"}, tensor<3x5xf32> {atoll.path = "contracting"},
      tensor<8x3x5xf32> {atoll.path = "batching"}, tensor<5x8xf32> {atoll.path = "turned"},
      tensor<3x5x8xf32> {atoll.path = "beside"}) {
    %free = stablehlo.dot_general %x, %w, contracting_dims = [1] x [0]
        : (tensor<8x3xf32>, tensor<3x5xf32>) -> tensor<8x5xf32>
    %contracting = stablehlo.dot_general %x, %y, contracting_dims = [0] x [0]
        : (tensor<8x3xf32>, tensor<8x5xf32>) -> tensor<3x5xf32>
    %batching = stablehlo.dot_general %x, %y, batching_dims = [0] x [0], contracting_dims = [] x []
        : (tensor<8x3xf32>, tensor<8x5xf32>) -> tensor<8x3x5xf32>
    %turned = stablehlo.dot_general %w, %x, contracting_dims = [0] x [1]
        : (tensor<3x5xf32>, tensor<8x3xf32>) -> tensor<5x8xf32>
    %beside = stablehlo.dot_general %w, %x, batching_dims = [0] x [1], contracting_dims = [] x []
        : (tensor<3x5xf32>, tensor<8x3xf32>) -> tensor<3x5x8xf32>
    return %free, %contracting, %batching, %turned, %beside
        : tensor<8x5xf32>, tensor<3x5xf32>, tensor<8x3x5xf32>, tensor<5x8xf32>, tensor<3x5x8xf32>
  }
}
