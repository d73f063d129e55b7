// RUN: atoll-opt %s --passes "split-layer-loops" | filecheck %s

// A loop whose layers are all on one stage stays as it is.

// CHECK:      func.func @main(%arg0: tensor<4xf32> {atoll.path = "w"},
// CHECK:      stablehlo.while({{.*}} = %arg0, {{.*}} {atoll.stage = 1 : i32}
// CHECK-NOT:  while
module attributes {atoll.stages = 2 : i32} {
  func.func @main(%w: tensor<4xf32> {atoll.path = "w"}, %x: tensor<1xf32> {atoll.path = "x"})
      -> (tensor<1xf32> {atoll.path = "y"}) {
    %zero = stablehlo.constant dense<0> : tensor<i32>
    %one = stablehlo.constant dense<1> : tensor<i32>
    %four = stablehlo.constant dense<4> : tensor<i32>
    %0:3 = stablehlo.while(%a = %w, %i = %zero, %h = %x) : tensor<4xf32>, tensor<i32>, tensor<1xf32>
        attributes {atoll.stage = 1 : i32}
    cond {
      %more = stablehlo.compare LT, %i, %four : (tensor<i32>, tensor<i32>) -> tensor<i1>
      stablehlo.return %more : tensor<i1>
    } do {
      %row = stablehlo.dynamic_slice %a, %i, sizes = [1] : (tensor<4xf32>, tensor<i32>) -> tensor<1xf32>
      %next = stablehlo.add %h, %row : tensor<1xf32>
      %j = stablehlo.add %i, %one : tensor<i32>
      stablehlo.return %a, %j, %next : tensor<4xf32>, tensor<i32>, tensor<1xf32>
    }
    return %0#2 : tensor<1xf32>
  }
}
