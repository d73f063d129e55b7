// RUN: atoll-opt %s --passes "fold-batch" | filecheck %s

// Which example has the greatest number, as the gradient of a maximum asks. That number is one of those that the first
// loop makes: made again and rounded otherwise, none might be equal to it. So they are kept, whatever is allowed.

// CHECK:      [[FIRST:%.*]]:2 = mpmd.for
// CHECK:        [[NUMBERS:%.*]] = stablehlo.dot_general
// CHECK:        mpmd.return {{%.*}}, [[NUMBERS]] :
// CHECK:      mpmd.for
// CHECK-NOT:    stablehlo.dot_general
// CHECK:        stablehlo.compare EQ, [[FIRST]]#1
// CHECK:        return
module attributes {atoll.plan = "microbatches=2, extra=100"} {
  func.func @main(%w: tensor<1x64xf32> {atoll.path = "w"}, %x: tensor<4x1xf32> {atoll.path = "x", atoll.batch})
      -> (tensor<4x64xi1> {atoll.path = "y"}) {
    %low = stablehlo.constant dense<0xFF800000> : tensor<f32>
    %0 = stablehlo.dot_general %x, %w, contracting_dims = [1] x [0] : (tensor<4x1xf32>, tensor<1x64xf32>)
        -> tensor<4x64xf32>
    %1 = stablehlo.reduce(%0 init: %low) applies stablehlo.maximum across dimensions = [0]
        : (tensor<4x64xf32>, tensor<f32>) -> tensor<64xf32>
    %2 = stablehlo.broadcast_in_dim %1, dims = [1] : (tensor<64xf32>) -> tensor<4x64xf32>
    %3 = stablehlo.compare EQ, %0, %2 : (tensor<4x64xf32>, tensor<4x64xf32>) -> tensor<4x64xi1>
    return %3 : tensor<4x64xi1>
  }
}
