// RUN: atoll-opt %s --passes "fold-batch" | filecheck %s --check-prefixes=KEPT
// RUN: atoll-opt %s --passes "fold-batch" | filecheck %s --check-prefixes=AGAIN

// Two masks, each of which both loops use, and no product leads to them. One is of sines, which may be rounded
// otherwise when they are made again: it is kept. The other is of what comes in, and comes out the same.

// KEPT:      mpmd.for
// KEPT:        [[SINE:%.*]] = stablehlo.sine
// KEPT:        [[MASK:%.*]] = stablehlo.compare GT, [[SINE]]
// KEPT:        mpmd.return {{.*}}, [[MASK]] :
// KEPT:      mpmd.for
// KEPT-NOT:    stablehlo.sine
// KEPT:      return
// AGAIN:      mpmd.for
// AGAIN:        stablehlo.compare LT
// AGAIN:      mpmd.for
// AGAIN:        stablehlo.compare LT
// AGAIN:      return
module attributes {atoll.plan = "microbatches=2"} {
  func.func @main(%x: tensor<4x8xf32> {atoll.path = "x", atoll.batch}) -> (tensor<4x8xf32> {atoll.path = "y"}) {
    %zero = stablehlo.constant dense<0.0> : tensor<f32>
    %zeros = stablehlo.constant dense<0.0> : tensor<4x8xf32>
    %0 = stablehlo.sine %x : tensor<4x8xf32>
    %1 = stablehlo.compare GT, %0, %zeros : (tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<4x8xi1>
    %2 = stablehlo.compare LT, %x, %zeros : (tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<4x8xi1>
    %3 = stablehlo.or %1, %2 : tensor<4x8xi1>
    %4 = stablehlo.convert %3 : (tensor<4x8xi1>) -> tensor<4x8xf32>
    %5 = stablehlo.reduce(%4 init: %zero) applies stablehlo.add across dimensions = [0]
        : (tensor<4x8xf32>, tensor<f32>) -> tensor<8xf32>
    %6 = stablehlo.broadcast_in_dim %5, dims = [1] : (tensor<8xf32>) -> tensor<4x8xf32>
    %7 = stablehlo.select %1, %6, %zeros : tensor<4x8xi1>, tensor<4x8xf32>
    %8 = stablehlo.select %2, %6, %7 : tensor<4x8xi1>, tensor<4x8xf32>
    return %8 : tensor<4x8xf32>
  }
}
