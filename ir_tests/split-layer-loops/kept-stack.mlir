// RUN: atoll-opt %s --passes "split-layer-loops" | filecheck %s

// A stack that one loop over microbatches keeps for another: each microbatch has its own part of it. So it is cut in
// the loop that takes it, not between the loops.

// CHECK:      [[KEPT:%.*]] = mpmd.for ({{.*}}) {atoll.parts = array<i64: 0>, iterations = 2 : ui32}
// CHECK:        mpmd.return
// CHECK-NOT:  stablehlo.slice
// CHECK:      mpmd.for
// CHECK:        [[LOW:%.*]] = stablehlo.slice [[KEPT]] [0:2]
// CHECK:        [[HIGH:%.*]] = stablehlo.slice [[KEPT]] [2:4]
// CHECK:        stablehlo.while({{.*}} = [[LOW]], {{.*}} {atoll.stage = 0 : i32}
// CHECK:        stablehlo.while({{.*}} = [[HIGH]], {{.*}} {atoll.stage = 1 : i32}
module attributes {atoll.stages = 2 : i32} {
  func.func @main(%x: tensor<4xf32> {atoll.path = "x", atoll.batch, atoll.parts = 2 : i32})
      -> (tensor<1xf32> {atoll.path = "y", atoll.parts = 2 : i32}) {
    %zero = stablehlo.constant dense<0> : tensor<i32>
    %one = stablehlo.constant dense<1> : tensor<i32>
    %four = stablehlo.constant dense<4> : tensor<i32>
    %none = stablehlo.constant dense<0.0> : tensor<4xf32>
    %nothing = stablehlo.constant dense<0.0> : tensor<1xf32>
    %kept = mpmd.for (%none) {atoll.parts = array<i64: 0>, iterations = 2 : ui32}
        (%part: tensor<4xf32>, %index: tensor<ui32>) {
      %made = stablehlo.tanh %x : tensor<4xf32>
      mpmd.return %made : tensor<4xf32>
    } : tensor<4xf32>
    %all = mpmd.for (%nothing) {atoll.parts = array<i64: 0>, iterations = 2 : ui32}
        (%part: tensor<1xf32>, %index: tensor<ui32>) {
      %0:3 = stablehlo.while(%a = %kept, %i = %zero, %h = %nothing) : tensor<4xf32>, tensor<i32>, tensor<1xf32>
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
      mpmd.return %0#2 : tensor<1xf32>
    } : tensor<1xf32>
    return %all : tensor<1xf32>
  }
}
