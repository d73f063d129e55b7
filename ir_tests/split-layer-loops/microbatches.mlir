// RUN: atoll-opt %s --passes "split-layer-loops" | filecheck %s

// In a loop over microbatches, a stack that is summed up becomes as many sums as there are ranges, and the numbers of
// the results that are in parts move up.

// CHECK:      tensor<2xf32> {atoll.path = "sum", atoll.piece = array<i64: 0, 0, 4>}
// CHECK-SAME: tensor<2xf32> {atoll.path = "sum", atoll.piece = array<i64: 0, 2, 4>}
// CHECK:      [[ALL:%.*]]:3 = mpmd.for ({{.*}}) {atoll.parts = array<i64: 2>, iterations = 2 : ui32}
// CHECK-SAME: (%arg3: tensor<2xf32>, %arg4: tensor<2xf32>, %arg5: tensor<1xf32>
// CHECK:        [[FIRST:%.*]]:4 = stablehlo.while({{.*}} = %arg0, {{.*}} = %arg2, {{.*}} {atoll.stage = 0 : i32}
// CHECK:        [[SECOND:%.*]]:4 = stablehlo.while({{.*}} = %arg1, {{.*}} = [[FIRST]]#2, {{.*}} {atoll.stage = 1 : i32}
// CHECK:        [[ONE:%.*]] = stablehlo.add %arg3, [[FIRST]]#3
// CHECK-NEXT:   [[TWO:%.*]] = stablehlo.add %arg4, [[SECOND]]#3
// CHECK-NEXT:   mpmd.return [[ONE]], [[TWO]], [[SECOND]]#2
module attributes {atoll.stages = 2 : i32} {
  func.func @main(
      %w: tensor<4xf32> {atoll.path = "w"},
      %x: tensor<1xf32> {atoll.path = "x", atoll.batch, atoll.parts = 2 : i32})
      -> (tensor<4xf32> {atoll.path = "sum"}, tensor<1xf32> {atoll.path = "y", atoll.parts = 2 : i32}) {
    %zero = stablehlo.constant dense<0> : tensor<i32>
    %one = stablehlo.constant dense<1> : tensor<i32>
    %four = stablehlo.constant dense<4> : tensor<i32>
    %none = stablehlo.constant dense<0.0> : tensor<4xf32>
    %nothing = stablehlo.constant dense<0.0> : tensor<1xf32>
    %all:2 = mpmd.for (%none, %nothing) {atoll.parts = array<i64: 1>, iterations = 2 : ui32}
        (%sum: tensor<4xf32>, %part: tensor<1xf32>, %index: tensor<ui32>) {
      %0:4 = stablehlo.while(%a = %w, %i = %zero, %h = %x, %ys = %none) : tensor<4xf32>, tensor<i32>, tensor<1xf32>,
          tensor<4xf32> attributes {atoll.layers = array<i64: 0, 0, 1, 1>}
      cond {
        %more = stablehlo.compare LT, %i, %four : (tensor<i32>, tensor<i32>) -> tensor<i1>
        stablehlo.return %more : tensor<i1>
      } do {
        %row = stablehlo.dynamic_slice %a, %i, sizes = [1] : (tensor<4xf32>, tensor<i32>) -> tensor<1xf32>
        %next = stablehlo.add %h, %row : tensor<1xf32>
        %put = stablehlo.dynamic_update_slice %ys, %next, %i
            : (tensor<4xf32>, tensor<1xf32>, tensor<i32>) -> tensor<4xf32>
        %j = stablehlo.add %i, %one : tensor<i32>
        stablehlo.return %a, %j, %next, %put : tensor<4xf32>, tensor<i32>, tensor<1xf32>, tensor<4xf32>
      }
      %total = stablehlo.add %sum, %0#3 : tensor<4xf32>
      mpmd.return %total, %0#2 : tensor<4xf32>, tensor<1xf32>
    } : tensor<4xf32>, tensor<1xf32>
    return %all#0, %all#1 : tensor<4xf32>, tensor<1xf32>
  }
}
