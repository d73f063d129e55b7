// RUN: atoll-opt %s --passes "fold-batch" | filecheck %s

// Two batches one after another are two blocks. A microbatch has its part of each; what cuts, pads or rearranges whole
// blocks does so with these parts.

// CHECK:      tensor<2x2x3xf32> {atoll.parts = 4 : i32, atoll.parts_dimension = 1 : i32, atoll.path = "z"}
// CHECK:      mpmd.for
// CHECK:        [[BOTH:%.*]] = stablehlo.concatenate %arg0, %arg1, dim = 0 : {{.*}} -> tensor<4x3xf32>
// CHECK-NEXT:   [[MORE:%.*]] = stablehlo.pad [[BOTH]], {{%.*}}, low = [2, 0], high = [4, 0], {{.*}} -> tensor<10x3xf32>
// CHECK-NEXT:   [[MIDDLE:%.*]] = stablehlo.slice [[MORE]] [4:8, 0:3] : (tensor<10x3xf32>) -> tensor<4x3xf32>
// CHECK-NEXT:   [[EACH:%.*]] = stablehlo.reshape [[MIDDLE]] : (tensor<4x3xf32>) -> tensor<2x2x3xf32>
// CHECK-NEXT:   [[TWICE:%.*]] = stablehlo.concatenate [[EACH]], [[EACH]], dim = 1 : {{.*}} -> tensor<2x4x3xf32>
// CHECK-NEXT:   [[LAST:%.*]] = stablehlo.slice [[TWICE]] [0:2, 2:4, 0:3] : {{.*}} -> tensor<2x2x3xf32>
// CHECK-NEXT:   mpmd.return [[LAST]]
module attributes {atoll.plan = "microbatches=4"} {
  func.func @main(
      %x: tensor<8x3xf32> {atoll.path = "x", atoll.batch}, %y: tensor<8x3xf32> {atoll.path = "y", atoll.batch})
      -> (tensor<2x8x3xf32> {atoll.path = "z"}) {
    %zero = stablehlo.constant dense<0.0> : tensor<f32>
    %both = stablehlo.concatenate %x, %y, dim = 0 : (tensor<8x3xf32>, tensor<8x3xf32>) -> tensor<16x3xf32>
    %more = stablehlo.pad %both, %zero, low = [8, 0], high = [16, 0], interior = [0, 0]
        : (tensor<16x3xf32>, tensor<f32>) -> tensor<40x3xf32>
    %middle = stablehlo.slice %more [16:32, 0:3] : (tensor<40x3xf32>) -> tensor<16x3xf32>
    %each = stablehlo.reshape %middle : (tensor<16x3xf32>) -> tensor<2x8x3xf32>
    %twice = stablehlo.concatenate %each, %each, dim = 1 : (tensor<2x8x3xf32>, tensor<2x8x3xf32>) -> tensor<2x16x3xf32>
    %last = stablehlo.slice %twice [0:2, 8:16, 0:3] : (tensor<2x16x3xf32>) -> tensor<2x8x3xf32>
    return %last : tensor<2x8x3xf32>
  }
}
