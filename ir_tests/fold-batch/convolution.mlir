// RUN: atoll-opt %s --passes "fold-batch" | filecheck %s

// A convolution is computed image by image; the gradient of its kernel, in which the images are the features, is a sum.

// CHECK:      mpmd.for
// CHECK-NEXT:   [[Y:%.*]] = stablehlo.convolution(%arg0, %arg2) dim_numbers = [b, 0, f]x[0, i, o]->[b, 0, f]
// CHECK-SAME:     -> tensor<2x6x5xf32>
// CHECK-NEXT:   [[PART:%.*]] = stablehlo.convolution(%arg0, %arg1) dim_numbers = [f, 0, b]x[i, 0, o]->[0, b, f]
// CHECK-SAME:     : (tensor<2x6x3xf32>, tensor<2x6x5xf32>) -> tensor<1x3x5xf32>
// CHECK-NEXT:   [[SUM:%.*]] = stablehlo.add %arg3, [[PART]]
// CHECK-NEXT:   mpmd.return [[SUM]], [[Y]]
module attributes {atoll.plan = "microbatches=4"} {
  func.func @main(
      %x: tensor<8x6x3xf32> {atoll.path = "x", atoll.batch}, %g: tensor<8x6x5xf32> {atoll.path = "g", atoll.batch},
      %w: tensor<1x3x5xf32> {atoll.path = "w"})
      -> (tensor<8x6x5xf32> {atoll.path = "y"}, tensor<1x3x5xf32> {atoll.path = "gradient"}) {
    %y = stablehlo.convolution(%x, %w) dim_numbers = [b, 0, f]x[0, i, o]->[b, 0, f], window = {}
        {batch_group_count = 1 : i64, feature_group_count = 1 : i64}
        : (tensor<8x6x3xf32>, tensor<1x3x5xf32>) -> tensor<8x6x5xf32>
    %gradient = stablehlo.convolution(%x, %g) dim_numbers = [f, 0, b]x[i, 0, o]->[0, b, f], window = {}
        {batch_group_count = 1 : i64, feature_group_count = 1 : i64}
        : (tensor<8x6x3xf32>, tensor<8x6x5xf32>) -> tensor<1x3x5xf32>
    return %y, %gradient : tensor<8x6x5xf32>, tensor<1x3x5xf32>
  }
}
