// RUN: atoll-opt %s --passes "split-layer-loops" | filecheck %s

// An update under a condition becomes a choice for each range, and one for what is not stacked.

// CHECK:      [[COUNT:%.*]] = "stablehlo.case"(%arg3) ({
// CHECK-NEXT:   stablehlo.return {{%.*}} : tensor<i32>
// CHECK:      [[ONE:%.*]] = "stablehlo.case"(%arg3) ({
// CHECK-NEXT:   stablehlo.return %arg0
// CHECK:        stablehlo.negate %arg0 : tensor<2xf32>
// CHECK:      [[TWO:%.*]] = "stablehlo.case"(%arg3) ({
// CHECK-NEXT:   stablehlo.return %arg1
// CHECK:        stablehlo.negate %arg1 : tensor<2xf32>
// CHECK:      return {{%.*}}, [[ONE]], [[TWO]], [[COUNT]]
module attributes {atoll.stages = 2 : i32} {
  func.func @main(
      %w: tensor<4xf32> {atoll.path = "w"}, %x: tensor<1xf32> {atoll.path = "x"}, %p: tensor<i32> {atoll.path = "p"})
      -> (tensor<1xf32> {atoll.path = "y"}, tensor<4xf32> {atoll.path = "new"}, tensor<i32> {atoll.path = "count"}) {
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
    %1:2 = "stablehlo.case"(%p) ({
      stablehlo.return %w, %zero : tensor<4xf32>, tensor<i32>
    }, {
      %n = stablehlo.negate %w : tensor<4xf32>
      stablehlo.return %n, %one : tensor<4xf32>, tensor<i32>
    }) : (tensor<i32>) -> (tensor<4xf32>, tensor<i32>)
    return %0#2, %1#0, %1#1 : tensor<1xf32>, tensor<4xf32>, tensor<i32>
  }
}
