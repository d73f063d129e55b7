// RUN: atoll-opt %s --passes "fold-batch" | filecheck %s

// How often a number that the model makes is doubled until it is large: the loop compares floats, so that what it gives
// is a decision about them. It is kept, though the product that leads to it is made again.

// CHECK:      mpmd.for
// CHECK:        stablehlo.dot_general
// CHECK:        [[COUNT:%.*]]:3 = stablehlo.while
// CHECK:        mpmd.return {{.*}}[[COUNT]]#0
// CHECK:      mpmd.for
// CHECK:        stablehlo.dot_general
// CHECK-NOT:    stablehlo.while
// CHECK:      return
module attributes {atoll.plan = "microbatches=4, extra=100"} {
  func.func @main(%w: tensor<2x5xf32> {atoll.path = "w"}, %x: tensor<4x2xf32> {atoll.path = "x", atoll.batch})
      -> (tensor<4x5xf32> {atoll.path = "y"}) {
    %zero = stablehlo.constant dense<0.0> : tensor<f32>
    %0 = stablehlo.dot_general %x, %w, contracting_dims = [1] x [0] : (tensor<4x2xf32>, tensor<2x5xf32>)
        -> tensor<4x5xf32>
    %first = stablehlo.slice %0 [0:4, 0:1] : (tensor<4x5xf32>) -> tensor<4x1xf32>
    %start = stablehlo.constant dense<0> : tensor<4x1xi32>
    %turn = stablehlo.constant dense<0> : tensor<i32>
    %1:3 = stablehlo.while(%n = %start, %a = %first, %i = %turn) : tensor<4x1xi32>, tensor<4x1xf32>, tensor<i32>
    cond {
      %end = stablehlo.constant dense<3> : tensor<i32>
      %goes_on = stablehlo.compare LT, %i, %end : (tensor<i32>, tensor<i32>) -> tensor<i1>
      stablehlo.return %goes_on : tensor<i1>
    } do {
      %one = stablehlo.constant dense<1> : tensor<i32>
      %next = stablehlo.add %i, %one : tensor<i32>
      %large = stablehlo.constant dense<8.0> : tensor<4x1xf32>
      %is_small = stablehlo.compare LT, %a, %large : (tensor<4x1xf32>, tensor<4x1xf32>) -> tensor<4x1xi1>
      %more = stablehlo.convert %is_small : (tensor<4x1xi1>) -> tensor<4x1xi32>
      %count = stablehlo.add %n, %more : tensor<4x1xi32>
      %double = stablehlo.add %a, %a : tensor<4x1xf32>
      stablehlo.return %count, %double, %next : tensor<4x1xi32>, tensor<4x1xf32>, tensor<i32>
    }
    %2 = stablehlo.convert %1#0 : (tensor<4x1xi32>) -> tensor<4x1xf32>
    %3 = stablehlo.broadcast_in_dim %2, dims = [0, 1] : (tensor<4x1xf32>) -> tensor<4x5xf32>
    %4 = stablehlo.multiply %0, %3 : tensor<4x5xf32>
    %5 = stablehlo.reduce(%4 init: %zero) applies stablehlo.add across dimensions = [0]
        : (tensor<4x5xf32>, tensor<f32>) -> tensor<5xf32>
    %6 = stablehlo.broadcast_in_dim %5, dims = [1] : (tensor<5xf32>) -> tensor<4x5xf32>
    %7 = stablehlo.subtract %4, %6 : tensor<4x5xf32>
    return %7 : tensor<4x5xf32>
  }
}
