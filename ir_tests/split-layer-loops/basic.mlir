// RUN: atoll-opt %s --passes "split-layer-loops" | filecheck %s

// Each range of layers takes its rows of the stack, which becomes as many arguments; the loops count from 0, so that
// ranges of equal length are equal loops. What the update computes elementwise from the stack is split with it; of its
// sum there is one. Constants that are no longer needed are left to later passes.

// CHECK:      func.func @main
// CHECK-SAME: tensor<3x8xf32> {atoll.path = "w", atoll.piece = array<i64: 0, 0, 4>}
// CHECK-SAME: tensor<1x8xf32> {atoll.path = "w", atoll.piece = array<i64: 0, 3, 4>}
// CHECK-SAME: tensor<8xf32> {atoll.path = "x"}
// CHECK-SAME: (tensor<3x8xf32> {atoll.path = "result[0]", atoll.piece = array<i64: 0, 0, 4>}
// CHECK-SAME: tensor<1x8xf32> {atoll.path = "result[0]", atoll.piece = array<i64: 0, 3, 4>}
// CHECK:      [[FIRST:%[0-9]+]]:3 = stablehlo.while({{.*}} = %arg0, {{.*}} = %c{{.*}}, {{.*}} = %arg2)
// CHECK-SAME:   {atoll.stage = 0 : i32}
// CHECK:      constant dense<3>
// CHECK:      dynamic_slice %iterArg{{.*}} -> tensor<1x8xf32>
// CHECK:      while({{.*}} = %arg1, {{.*}} = %c{{.*}}, {{.*}} = [[FIRST]]#2) {{.*}} {atoll.stage = 1 : i32}
// CHECK:      constant dense<1>
// CHECK:      multiply %arg0, %arg0 : tensor<3x8xf32>
// CHECK:      multiply %arg1, %arg1 : tensor<1x8xf32>
// CHECK:      reduce({{.*}} : (tensor<3x8xf32>, tensor<f32>) -> tensor<f32>
// CHECK:      reduce({{.*}} : (tensor<1x8xf32>, tensor<f32>) -> tensor<f32>
// CHECK:      add {{.*}} : tensor<f32>
// CHECK-NOT:  concatenate
module attributes {atoll.stages = 2 : i32} {
  func.func @main(%w: tensor<4x8xf32> {atoll.path = "w"}, %x: tensor<8xf32> {atoll.path = "x"})
      -> (tensor<4x8xf32> {atoll.path = "result[0]"}, tensor<8xf32> {atoll.path = "result[1]"},
      tensor<f32> {atoll.path = "result[2]"}) {
    %zero = stablehlo.constant dense<0> : tensor<i32>
    %0:3 = stablehlo.while(%a = %w, %i = %zero, %h = %x) : tensor<4x8xf32>, tensor<i32>, tensor<8xf32>
        attributes {atoll.layers = array<i64: 0, 0, 0, 1>}
    cond {
      %n = stablehlo.constant dense<4> : tensor<i32>
      %more = stablehlo.compare LT, %i, %n, SIGNED : (tensor<i32>, tensor<i32>) -> tensor<i1>
      stablehlo.return %more : tensor<i1>
    } do {
      %c = stablehlo.constant dense<0> : tensor<i32>
      %row = stablehlo.dynamic_slice %a, %i, %c, sizes = [1, 8] : (tensor<4x8xf32>, tensor<i32>, tensor<i32>)
          -> tensor<1x8xf32>
      %r = stablehlo.reshape %row : (tensor<1x8xf32>) -> tensor<8xf32>
      %next = stablehlo.add %h, %r : tensor<8xf32>
      %one = stablehlo.constant dense<1> : tensor<i32>
      %j = stablehlo.add %i, %one : tensor<i32>
      stablehlo.return %a, %j, %next : tensor<4x8xf32>, tensor<i32>, tensor<8xf32>
    }
    %new = stablehlo.multiply %w, %w : tensor<4x8xf32>
    %none = stablehlo.constant dense<0.0> : tensor<f32>
    %sum = stablehlo.reduce(%new init: %none) applies stablehlo.add across dimensions = [0, 1]
        : (tensor<4x8xf32>, tensor<f32>) -> tensor<f32>
    return %new, %0#2, %sum : tensor<4x8xf32>, tensor<8xf32>, tensor<f32>
  }
}
