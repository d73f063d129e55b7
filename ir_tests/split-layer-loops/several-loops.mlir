// RUN: atoll-opt %s --passes "split-layer-loops" | filecheck %s

// Loops over one stack are all cut wherever one of them is, so that they find their rows in the same pieces; each has
// its own stages.

// CHECK:      %arg0: tensor<1xf32> {atoll.path = "w", atoll.piece = array<i64: 0, 0, 4>}
// CHECK-SAME: %arg1: tensor<1xf32> {atoll.path = "w", atoll.piece = array<i64: 0, 1, 4>}
// CHECK-SAME: %arg2: tensor<2xf32> {atoll.path = "w", atoll.piece = array<i64: 0, 2, 4>}
// CHECK:      while({{.*}} = %arg0, {{.*}} {atoll.stage = 0 : i32}
// CHECK:      while({{.*}} = %arg1, {{.*}} {atoll.stage = 0 : i32}
// CHECK:      while({{.*}} = %arg2, {{.*}} {atoll.stage = 1 : i32}
// CHECK:      while({{.*}} = %arg0, {{.*}} {atoll.stage = 1 : i32}
// CHECK:      while({{.*}} = %arg1, {{.*}} {atoll.stage = 2 : i32}
// CHECK:      while({{.*}} = %arg2, {{.*}} {atoll.stage = 2 : i32}
module attributes {atoll.stages = 3 : i32} {
  func.func @main(%w: tensor<4xf32> {atoll.path = "w"}, %x: tensor<1xf32> {atoll.path = "x"})
      -> (tensor<1xf32> {atoll.path = "y"}) {
    %zero = stablehlo.constant dense<0> : tensor<i32>
    %one = stablehlo.constant dense<1> : tensor<i32>
    %four = stablehlo.constant dense<4> : tensor<i32>
    %0:3 = stablehlo.while(%a = %w, %i = %zero, %h = %x) : tensor<4xf32>, tensor<i32>, tensor<1xf32>
        attributes {atoll.layers = array<i64: 0, 0, 1, 1>}
    cond {
      %more = stablehlo.compare LT, %i, %four : (tensor<i32>, tensor<i32>) -> tensor<i1>
      stablehlo.return %more : tensor<i1>
    } do {
      %row = stablehlo.dynamic_slice %a, %i, sizes = [1] : (tensor<4xf32>, tensor<i32>) -> tensor<1xf32>
      %next = stablehlo.add %h, %row : tensor<1xf32>
      %j = stablehlo.add %i, %one : tensor<i32>
      stablehlo.return %a, %j, %next : tensor<4xf32>, tensor<i32>, tensor<1xf32>
    }
    %1:3 = stablehlo.while(%a = %w, %i = %zero, %h = %0#2) : tensor<4xf32>, tensor<i32>, tensor<1xf32>
        attributes {atoll.layers = array<i64: 1, 2, 2, 2>}
    cond {
      %more = stablehlo.compare LT, %i, %four : (tensor<i32>, tensor<i32>) -> tensor<i1>
      stablehlo.return %more : tensor<i1>
    } do {
      %row = stablehlo.dynamic_slice %a, %i, sizes = [1] : (tensor<4xf32>, tensor<i32>) -> tensor<1xf32>
      %next = stablehlo.multiply %h, %row : tensor<1xf32>
      %j = stablehlo.add %i, %one : tensor<i32>
      stablehlo.return %a, %j, %next : tensor<4xf32>, tensor<i32>, tensor<1xf32>
    }
    return %1#2 : tensor<1xf32>
  }
}
