// RUN: atoll-opt %s --passes "fold-batch" | filecheck %s

// Which examples have a number at least as great as that of one, which a mask picks: a sum of it and zeros. It is one
// of the numbers that the first loop makes, which made again might be less than itself.

// CHECK:      [[FIRST:%.*]]:2 = mpmd.for
// CHECK:        [[NUMBERS:%.*]] = stablehlo.dot_general
// CHECK:        mpmd.return {{%.*}}, [[NUMBERS]] :
// CHECK:      mpmd.for
// CHECK-NOT:    stablehlo.dot_general
// CHECK:        stablehlo.compare GE, [[FIRST]]#1
// CHECK:        return
module attributes {atoll.plan = "microbatches=2, extra=100"} {
  func.func @main(%w: tensor<1x64xf32> {atoll.path = "w"}, %x: tensor<4x1xf32> {atoll.path = "x", atoll.batch},
                  %is_it: tensor<4xi1> {atoll.path = "is_it", atoll.batch}) -> (tensor<4x64xi1> {atoll.path = "y"}) {
    %zero = stablehlo.constant dense<0.0> : tensor<f32>
    %0 = stablehlo.dot_general %x, %w, contracting_dims = [1] x [0] : (tensor<4x1xf32>, tensor<1x64xf32>)
        -> tensor<4x64xf32>
    %1 = stablehlo.convert %is_it : (tensor<4xi1>) -> tensor<4xf32>
    %2 = stablehlo.broadcast_in_dim %1, dims = [0] : (tensor<4xf32>) -> tensor<4x64xf32>
    %3 = stablehlo.multiply %0, %2 : tensor<4x64xf32>
    %4 = stablehlo.reduce(%3 init: %zero) applies stablehlo.add across dimensions = [0]
        : (tensor<4x64xf32>, tensor<f32>) -> tensor<64xf32>
    %5 = stablehlo.broadcast_in_dim %4, dims = [1] : (tensor<64xf32>) -> tensor<4x64xf32>
    %6 = stablehlo.compare GE, %0, %5 : (tensor<4x64xf32>, tensor<4x64xf32>) -> tensor<4x64xi1>
    return %6 : tensor<4x64xi1>
  }
}
