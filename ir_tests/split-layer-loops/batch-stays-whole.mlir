// RUN: atoll-opt %s --passes "split-layer-loops" | filecheck %s

// What carries the batch is no stack of parameters, even if the loop takes rows of it as of one: it stays one argument,
// and each range gets its rows cut out.

// CHECK:      %arg1: tensor<2xf32> {atoll.path = "w", atoll.piece = array<i64: 0, 2, 4>}
// CHECK-SAME: %arg2: tensor<4xf32> {atoll.batch, atoll.path = "x"})
// CHECK:      [[ONE:%.*]] = stablehlo.slice %arg2 [0:2] : (tensor<4xf32>) -> tensor<2xf32>
// CHECK-NEXT: [[TWO:%.*]] = stablehlo.slice %arg2 [2:4] : (tensor<4xf32>) -> tensor<2xf32>
// CHECK:      while({{.*}} = %arg0, {{.*}} = [[ONE]],
// CHECK:      while({{.*}} = %arg1, {{.*}} = [[TWO]],
module attributes {atoll.stages = 2 : i32} {
  func.func @main(%w: tensor<4xf32> {atoll.path = "w"}, %x: tensor<4xf32> {atoll.path = "x", atoll.batch})
      -> (tensor<1xf32> {atoll.path = "y"}) {
    %zero = stablehlo.constant dense<0> : tensor<i32>
    %one = stablehlo.constant dense<1> : tensor<i32>
    %four = stablehlo.constant dense<4> : tensor<i32>
    %none = stablehlo.constant dense<0.0> : tensor<1xf32>
    %0:4 = stablehlo.while(%a = %w, %b = %x, %i = %zero, %h = %none) : tensor<4xf32>, tensor<4xf32>, tensor<i32>,
        tensor<1xf32> attributes {atoll.layers = array<i64: 0, 0, 1, 1>}
    cond {
      %more = stablehlo.compare LT, %i, %four : (tensor<i32>, tensor<i32>) -> tensor<i1>
      stablehlo.return %more : tensor<i1>
    } do {
      %row = stablehlo.dynamic_slice %a, %i, sizes = [1] : (tensor<4xf32>, tensor<i32>) -> tensor<1xf32>
      %own = stablehlo.dynamic_slice %b, %i, sizes = [1] : (tensor<4xf32>, tensor<i32>) -> tensor<1xf32>
      %product = stablehlo.multiply %row, %own : tensor<1xf32>
      %next = stablehlo.add %h, %product : tensor<1xf32>
      %j = stablehlo.add %i, %one : tensor<i32>
      stablehlo.return %a, %b, %j, %next : tensor<4xf32>, tensor<4xf32>, tensor<i32>, tensor<1xf32>
    }
    return %0#3 : tensor<1xf32>
  }
}
