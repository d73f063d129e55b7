// RUN: atoll-opt %s --passes "split-layer-loops" | filecheck %s

// What the forward loop saves for each layer, the backward loop takes back: each range hands on its own rows, and
// nothing is joined. On the way back the last range comes first, though the backward loop itself says no stages.

// CHECK-NOT:  atoll.notes
// CHECK:      [[FIRST:%.*]]:4 = stablehlo.while({{.*}} = %arg0, {{.*}} = %arg2, {{.*}}) {{.*}} {atoll.stage = 0 : i32}
// CHECK:      [[SECOND:%.*]]:4 = stablehlo.while({{.*}} = %arg1, {{.*}} = [[FIRST]]#2, {{.*}})
// CHECK-SAME: {atoll.stage = 1 : i32}
// CHECK:      [[LAST:%.*]]:5 = stablehlo.while({{.*}} = %arg1, {{.*}} = [[SECOND]]#3, {{.*}}, {{.*}} = [[SECOND]]#2,
// CHECK-SAME: {atoll.stage = 1 : i32}
// CHECK:      [[BACK:%.*]]:5 = stablehlo.while({{.*}} = %arg0, {{.*}} = [[FIRST]]#3, {{.*}}, {{.*}} = [[LAST]]#3,
// CHECK-SAME: {atoll.stage = 0 : i32}
// CHECK:      return [[BACK]]#4, [[LAST]]#4 : tensor<2xf32>, tensor<2xf32>
module attributes {atoll.stages = 2 : i32} {
  func.func @main(%w: tensor<4xf32> {atoll.path = "w"}, %x: tensor<1xf32> {atoll.path = "x"})
      -> (tensor<4xf32> {atoll.path = "gradient"}) {
    %zero = stablehlo.constant dense<0> : tensor<i32>
    %one = stablehlo.constant dense<1> : tensor<i32>
    %four = stablehlo.constant dense<4> : tensor<i32>
    %three = stablehlo.constant dense<3> : tensor<i32>
    %none = stablehlo.constant dense<0.0> : tensor<4xf32>
    %0:4 = stablehlo.while(%a = %w, %i = %zero, %h = %x, %saved = %none) : tensor<4xf32>, tensor<i32>, tensor<1xf32>,
        tensor<4xf32> attributes {atoll.layers = array<i64: 0, 0, 1, 1>}
    cond {
      %more = stablehlo.compare LT, %i, %four : (tensor<i32>, tensor<i32>) -> tensor<i1>
      stablehlo.return %more : tensor<i1>
    } do {
      %row = stablehlo.dynamic_slice %a, %i, sizes = [1] : (tensor<4xf32>, tensor<i32>) -> tensor<1xf32>
      %next = stablehlo.multiply %h, %row : tensor<1xf32>
      %put = stablehlo.dynamic_update_slice %saved, %h, %i : (tensor<4xf32>, tensor<1xf32>, tensor<i32>)
          -> tensor<4xf32>
      %j = stablehlo.add %i, %one : tensor<i32>
      stablehlo.return %a, %j, %next, %put : tensor<4xf32>, tensor<i32>, tensor<1xf32>, tensor<4xf32>
    }
    %1:5 = stablehlo.while(%a = %w, %saved = %0#3, %i = %zero, %g = %0#2, %dw = %none) : tensor<4xf32>, tensor<4xf32>,
        tensor<i32>, tensor<1xf32>, tensor<4xf32>
    cond {
      %more = stablehlo.compare LT, %i, %four : (tensor<i32>, tensor<i32>) -> tensor<i1>
      stablehlo.return %more : tensor<i1>
    } do {
      %k = stablehlo.subtract %three, %i : tensor<i32>
      %row = stablehlo.dynamic_slice %a, %k, sizes = [1] : (tensor<4xf32>, tensor<i32>) -> tensor<1xf32>
      %h = stablehlo.dynamic_slice %saved, %k, sizes = [1] : (tensor<4xf32>, tensor<i32>) -> tensor<1xf32>
      %own = stablehlo.multiply %g, %h : tensor<1xf32>
      %put = stablehlo.dynamic_update_slice %dw, %own, %k : (tensor<4xf32>, tensor<1xf32>, tensor<i32>) -> tensor<4xf32>
      %next = stablehlo.multiply %g, %row : tensor<1xf32>
      %j = stablehlo.add %i, %one : tensor<i32>
      stablehlo.return %a, %saved, %j, %next, %put : tensor<4xf32>, tensor<4xf32>, tensor<i32>, tensor<1xf32>,
          tensor<4xf32>
    }
    return %1#4 : tensor<4xf32>
  }
}
