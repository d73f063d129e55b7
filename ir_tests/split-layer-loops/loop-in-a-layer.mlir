// RUN: atoll-opt %s --passes "split-layer-loops" | filecheck %s

// A loop within a layer goes where the layer goes, and still sees the number of its layer, its row and what comes from
// outside.

// CHECK:      stablehlo.while({{.*}} = %arg0, {{.*}} = %arg2) {{.*}} {atoll.stage = 0 : i32}
// CHECK:        [[ROW:%.*]] = stablehlo.dynamic_slice
// CHECK-NEXT:   stablehlo.while({{%.*}} = %c, {{%.*}} = %iterArg_4) : tensor<i32>, tensor<1xf32>
// CHECK:          multiply {{%.*}}, [[ROW]]
// CHECK:          add {{%.*}}, %c_0
// CHECK:      stablehlo.while({{.*}} = %arg1, {{.*}}) {{.*}} {atoll.stage = 1 : i32}
// CHECK:      do {
// CHECK:        [[LAYER:%.*]] = stablehlo.add %iterArg_3,
// CHECK:        stablehlo.while
// CHECK-NEXT:   cond {
// CHECK-NEXT:     [[MORE:%.*]] = stablehlo.compare LT, {{%.*}}, [[LAYER]]
module attributes {atoll.stages = 2 : i32} {
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
      %1:2 = stablehlo.while(%k = %zero, %g = %h) : tensor<i32>, tensor<1xf32>
      cond {
        %more = stablehlo.compare LT, %k, %i : (tensor<i32>, tensor<i32>) -> tensor<i1>
        stablehlo.return %more : tensor<i1>
      } do {
        %f = stablehlo.multiply %g, %row : tensor<1xf32>
        %l = stablehlo.add %k, %one : tensor<i32>
        stablehlo.return %l, %f : tensor<i32>, tensor<1xf32>
      }
      %j = stablehlo.add %i, %one : tensor<i32>
      stablehlo.return %a, %j, %1#1 : tensor<4xf32>, tensor<i32>, tensor<1xf32>
    }
    return %0#2 : tensor<1xf32>
  }
}
