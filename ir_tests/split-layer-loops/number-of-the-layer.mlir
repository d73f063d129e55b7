// RUN: atoll-opt %s --passes "split-layer-loops" | filecheck %s

// Every range counts from 0, and finds its rows so; what computes with the number of the layer gets its number in the
// whole loop, and after the last range the count is where the whole loop would have left it.

// CHECK:      while({{.*}} = %arg0,
// CHECK:        convert %iterArg_3
// CHECK:      [[LAST:%.*]]:3 = stablehlo.while({{.*}} = %arg1,
// CHECK:      do {
// CHECK-NEXT:   [[LATE:%.*]] = stablehlo.constant dense<2> : tensor<i32>
// CHECK-NEXT:   [[LAYER:%.*]] = stablehlo.add %iterArg_3, [[LATE]]
// CHECK:        stablehlo.dynamic_slice %iterArg, %iterArg_3, sizes = [1]
// CHECK-NEXT:   stablehlo.convert [[LAYER]]
// CHECK:      [[COUNT:%.*]] = stablehlo.constant dense<4> : tensor<i32>
// CHECK-NEXT: return [[LAST]]#2, [[COUNT]]
module attributes {atoll.stages = 2 : i32} {
  func.func @main(%w: tensor<4xf32> {atoll.path = "w"}, %x: tensor<1xf32> {atoll.path = "x"})
      -> (tensor<1xf32> {atoll.path = "y"}, tensor<i32> {atoll.path = "count"}) {
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
      %number = stablehlo.convert %i : (tensor<i32>) -> tensor<f32>
      %scale = stablehlo.reshape %number : (tensor<f32>) -> tensor<1xf32>
      %scaled = stablehlo.multiply %row, %scale : tensor<1xf32>
      %next = stablehlo.add %h, %scaled : tensor<1xf32>
      %j = stablehlo.add %i, %one : tensor<i32>
      stablehlo.return %a, %j, %next : tensor<4xf32>, tensor<i32>, tensor<1xf32>
    }
    return %0#2, %0#1 : tensor<1xf32>, tensor<i32>
  }
}
