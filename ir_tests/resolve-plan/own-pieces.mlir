// RUN: atoll-opt %s --passes "resolve-plan" --split-input-file | filecheck %s

// A loop that has all products in it takes the batch in four pieces: so four microbatches, two of them in each replica.

// CHECK: atoll.filled = {microbatches = 2 : i64, stages = 2 : i64}
// CHECK-SAME: count = 4 : i64, kind = "own-pieces"
module attributes {atoll.plan = "replicas=2, segments=1", atoll.topology = "4 x cpu[1]"} {
  func.func @main(%w: tensor<3x3xf32> {atoll.path = "w"}, %x: tensor<8x3xf32> {atoll.path = "x", atoll.batch})
      -> (tensor<2x3xf32> {atoll.path = "y"}) {
    %zero = stablehlo.constant dense<0> : tensor<i32>
    %begin = stablehlo.constant dense<0.0> : tensor<2x3xf32>
    %0:3 = stablehlo.while(%i = %zero, %sum = %begin, %rows = %x) : tensor<i32>, tensor<2x3xf32>, tensor<8x3xf32>
    cond {
      %end = stablehlo.constant dense<8> : tensor<i32>
      %goes_on = stablehlo.compare LT, %i, %end : (tensor<i32>, tensor<i32>) -> tensor<i1>
      stablehlo.return %goes_on : tensor<i1>
    } do {
      %two = stablehlo.constant dense<2> : tensor<i32>
      %piece = stablehlo.dynamic_slice %rows, %i, %zero, sizes = [2, 3]
          : (tensor<8x3xf32>, tensor<i32>, tensor<i32>) -> tensor<2x3xf32>
      %product = stablehlo.dot_general %piece, %w, contracting_dims = [1] x [0]
          : (tensor<2x3xf32>, tensor<3x3xf32>) -> tensor<2x3xf32>
      %more = stablehlo.add %sum, %product : tensor<2x3xf32>
      %next = stablehlo.add %i, %two : tensor<i32>
      stablehlo.return %next, %more, %rows : tensor<i32>, tensor<2x3xf32>, tensor<8x3xf32>
    }
    return %0#1 : tensor<2x3xf32>
  }
}

// -----

// With one stage there is nothing that could go on side by side.

// CHECK: atoll.filled = {microbatches = 1 : i64, replicas = 1 : i64, segments = 1 : i64, stages = 1 : i64}
module attributes {atoll.topology = "1 x cpu[1]"} {
  func.func @main(%w: tensor<3x3xf32> {atoll.path = "w"}, %x: tensor<8x3xf32> {atoll.path = "x", atoll.batch})
      -> (tensor<2x3xf32> {atoll.path = "y"}) {
    %zero = stablehlo.constant dense<0> : tensor<i32>
    %begin = stablehlo.constant dense<0.0> : tensor<2x3xf32>
    %0:3 = stablehlo.while(%i = %zero, %sum = %begin, %rows = %x) : tensor<i32>, tensor<2x3xf32>, tensor<8x3xf32>
    cond {
      %end = stablehlo.constant dense<8> : tensor<i32>
      %goes_on = stablehlo.compare LT, %i, %end : (tensor<i32>, tensor<i32>) -> tensor<i1>
      stablehlo.return %goes_on : tensor<i1>
    } do {
      %two = stablehlo.constant dense<2> : tensor<i32>
      %piece = stablehlo.dynamic_slice %rows, %i, %zero, sizes = [2, 3]
          : (tensor<8x3xf32>, tensor<i32>, tensor<i32>) -> tensor<2x3xf32>
      %product = stablehlo.dot_general %piece, %w, contracting_dims = [1] x [0]
          : (tensor<2x3xf32>, tensor<3x3xf32>) -> tensor<2x3xf32>
      %more = stablehlo.add %sum, %product : tensor<2x3xf32>
      %next = stablehlo.add %i, %two : tensor<i32>
      stablehlo.return %next, %more, %rows : tensor<i32>, tensor<2x3xf32>, tensor<8x3xf32>
    }
    return %0#1 : tensor<2x3xf32>
  }
}
