// RUN: atoll-opt %s --passes "split-layer-loops" | filecheck %s

// Ranges may differ in length, and there may be as many as there are stages. What one range carries, the next takes up.

// CHECK:      %arg0: tensor<1xf32> {atoll.path = "w", atoll.piece = array<i64: 0, 0, 4>}
// CHECK-SAME: %arg1: tensor<2xf32> {atoll.path = "w", atoll.piece = array<i64: 0, 1, 4>}
// CHECK-SAME: %arg2: tensor<1xf32> {atoll.path = "w", atoll.piece = array<i64: 0, 3, 4>}
// CHECK:      [[FIRST:%.*]]:3 = stablehlo.while({{.*}} = %arg0, {{.*}}, {{.*}} = %arg3)
// CHECK-SAME: {atoll.stage = 0 : i32}
// CHECK:      [[SECOND:%.*]]:3 = stablehlo.while({{.*}} = %arg1, {{.*}}, {{.*}} = [[FIRST]]#2)
// CHECK-SAME: {atoll.stage = 1 : i32}
// CHECK:      [[THIRD:%.*]]:3 = stablehlo.while({{.*}} = %arg2, {{.*}}, {{.*}} = [[SECOND]]#2)
// CHECK-SAME: {atoll.stage = 2 : i32}
// CHECK:      return [[THIRD]]#2
module attributes {atoll.stages = 3 : i32} {
  func.func @main(%w: tensor<4xf32> {atoll.path = "w"}, %x: tensor<1xf32> {atoll.path = "x"})
      -> (tensor<1xf32> {atoll.path = "y"}) {
    %zero = stablehlo.constant dense<0> : tensor<i32>
    %one = stablehlo.constant dense<1> : tensor<i32>
    %four = stablehlo.constant dense<4> : tensor<i32>
    %0:3 = stablehlo.while(%a = %w, %i = %zero, %h = %x) : tensor<4xf32>, tensor<i32>, tensor<1xf32>
        attributes {atoll.layers = array<i64: 0, 1, 1, 2>}
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
