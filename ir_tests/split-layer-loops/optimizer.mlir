// RUN: atoll-opt %s --passes "split-layer-loops" | filecheck %s

// The state of the optimizer is split like the parameters that it belongs to, and so is what is computed from both;
// what is the same for all layers stays one. Paths and donations are those of the whole.

// CHECK:      @main(%arg0: tensor<2xf32> {atoll.donated, atoll.path = "state['w']", atoll.piece = array<i64: 0, 0, 4>}
// CHECK-SAME: %arg1: tensor<2xf32> {atoll.donated, atoll.path = "state['w']", atoll.piece = array<i64: 0, 2, 4>}
// CHECK-SAME: %arg2: tensor<2xf32> {atoll.donated, atoll.path = "state['m']", atoll.piece = array<i64: 0, 0, 4>}
// CHECK-SAME: %arg3: tensor<2xf32> {atoll.donated, atoll.path = "state['m']", atoll.piece = array<i64: 0, 2, 4>}
// CHECK-SAME: tensor<2xf32> {atoll.path = "result['m']", atoll.piece = array<i64: 0, 2, 4>}
// CHECK:      [[STEP:%.*]] = stablehlo.convert %arg4 : (tensor<i32>) -> tensor<f32>
// CHECK-NEXT: [[RATE0:%.*]] = stablehlo.broadcast_in_dim [[STEP]]
// CHECK-NEXT: [[RATE1:%.*]] = stablehlo.broadcast_in_dim [[STEP]]
// CHECK-NEXT: [[M0:%.*]] = stablehlo.add %arg2, %arg0 : tensor<2xf32>
// CHECK-NEXT: [[M1:%.*]] = stablehlo.add %arg3, %arg1 : tensor<2xf32>
// CHECK-NEXT: [[S0:%.*]] = stablehlo.multiply [[M0]], [[RATE0]]
// CHECK-NEXT: [[S1:%.*]] = stablehlo.multiply [[M1]], [[RATE1]]
// CHECK-NEXT: [[W0:%.*]] = stablehlo.subtract %arg0, [[S0]]
// CHECK-NEXT: [[W1:%.*]] = stablehlo.subtract %arg1, [[S1]]
// CHECK-NEXT: return [[W0]], [[W1]], [[M0]], [[M1]],
module attributes {atoll.stages = 2 : i32} {
  func.func @main(
      %w: tensor<4xf32> {atoll.path = "state['w']", atoll.donated},
      %m: tensor<4xf32> {atoll.path = "state['m']", atoll.donated},
      %count: tensor<i32> {atoll.path = "state['count']"}, %x: tensor<1xf32> {atoll.path = "x"})
      -> (tensor<4xf32> {atoll.path = "result['w']"}, tensor<4xf32> {atoll.path = "result['m']"},
      tensor<1xf32> {atoll.path = "result['y']"}) {
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
    %step = stablehlo.convert %count : (tensor<i32>) -> tensor<f32>
    %rate = stablehlo.broadcast_in_dim %step, dims = [] : (tensor<f32>) -> tensor<4xf32>
    %momentum = stablehlo.add %m, %w : tensor<4xf32>
    %scaled = stablehlo.multiply %momentum, %rate : tensor<4xf32>
    %new = stablehlo.subtract %w, %scaled : tensor<4xf32>
    return %new, %momentum, %0#2 : tensor<4xf32>, tensor<4xf32>, tensor<1xf32>
  }
}
