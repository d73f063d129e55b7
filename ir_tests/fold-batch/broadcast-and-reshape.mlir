// RUN: atoll-opt %s --passes "fold-batch" | filecheck %s

// A microbatch stays one block when dimensions are added, transposed, or merged with those after the batch; a value
// that is the same for all examples is made in the shape of a block.

// CHECK:      mpmd.for
// CHECK-NEXT:   stablehlo.reshape %arg0 : (tensor<2x3xf32>) -> tensor<6xf32>
// CHECK-NEXT:   stablehlo.broadcast_in_dim %arg0, dims = [1, 2] : (tensor<2x3xf32>) -> tensor<2x2x3xf32>
// CHECK-NEXT:   stablehlo.transpose %arg0, dims = [1, 0] : (tensor<2x3xf32>) -> tensor<3x2xf32>
// CHECK-NEXT:   [[ALL:%.*]] = stablehlo.broadcast_in_dim %arg1, dims = [1] : (tensor<3xf32>) -> tensor<2x3xf32>
// CHECK-NEXT:   stablehlo.add %arg0, [[ALL]]
module attributes {atoll.plan = "microbatches=4"} {
  func.func @main(%x: tensor<8x3xf32> {atoll.path = "x", atoll.batch}, %w: tensor<3xf32> {atoll.path = "w"})
      -> (tensor<24xf32> {atoll.path = "flat"}, tensor<2x8x3xf32> {atoll.path = "twice"},
      tensor<3x8xf32> {atoll.path = "turned"}, tensor<8x3xf32> {atoll.path = "sum"}) {
    %flat = stablehlo.reshape %x : (tensor<8x3xf32>) -> tensor<24xf32>
    %twice = stablehlo.broadcast_in_dim %x, dims = [1, 2] : (tensor<8x3xf32>) -> tensor<2x8x3xf32>
    %turned = stablehlo.transpose %x, dims = [1, 0] : (tensor<8x3xf32>) -> tensor<3x8xf32>
    %all = stablehlo.broadcast_in_dim %w, dims = [1] : (tensor<3xf32>) -> tensor<8x3xf32>
    %sum = stablehlo.add %x, %all : tensor<8x3xf32>
    return %flat, %twice, %turned, %sum : tensor<24xf32>, tensor<2x8x3xf32>, tensor<3x8xf32>, tensor<8x3xf32>
  }
}
