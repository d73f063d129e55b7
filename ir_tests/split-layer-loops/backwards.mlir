// RUN: atoll-opt %s --passes "split-layer-loops" | filecheck %s
// RUN: atoll-opt %s --passes "split-layer-loops" --verify-diagnostics

// A loop that goes over the layers backwards comes to the last range first, and finds its rows from the end. The number
// of the layer, which the body also computes with, goes on from range to range. What needs the whole stack gets it
// joined, and the module says so.

// CHECK:      atoll.notes = [{at = [{{.*}}], kind = "joined-stack", type = "tensor<4x8xf32>", user = "the result"}]
// CHECK:      func.func @main(%arg0: tensor<2x8xf32> {{.*}}, %arg1: tensor<2x8xf32>
// CHECK:      [[LAST:%[0-9]+]]:4 = stablehlo.while({{.*}} = %arg1, {{.*}}) {{.*}} {atoll.stage = 1 : i32}
// CHECK:      [[ONE:%.*]] = stablehlo.constant dense<1> : tensor<i32>
// CHECK:      [[PLACE:%.*]] = stablehlo.subtract [[ONE]], %iterArg
// CHECK:      dynamic_slice %iterArg, [[PLACE]],
// CHECK:      while({{.*}} = %arg0, {{.*}} = %c, {{.*}} = [[LAST]]#2, {{.*}} {atoll.stage = 0 : i32}
// CHECK:      do {
// CHECK:      [[LATE:%c.*]] = stablehlo.constant dense<2> : tensor<i32>
// CHECK:      [[LAYER:%.*]] = stablehlo.add %iterArg{{[_0-9]*}}, [[LATE]] : tensor<i32>
// CHECK:      convert [[LAYER]] :
// CHECK:      [[ROWS:%.*]] = stablehlo.concatenate {{.*}}#3, [[LAST]]#3, dim = 0
// CHECK:      return {{.*}}[[ROWS]]
module attributes {atoll.stages = 2 : i32} {
  func.func @main(
      %w: tensor<4x8xf32> {atoll.path = "w"},
      %x: tensor<8xf32> {atoll.path = "x", atoll.batch, atoll.parts = 2 : i32})
      -> (tensor<8xf32> {atoll.path = "result[0]"}, tensor<4x8xf32> {atoll.path = "result[1]", atoll.parts = 2 : i32}) {
    %zero = stablehlo.constant dense<0> : tensor<i32>
    %none = stablehlo.constant dense<0.0> : tensor<f32>
    %nothing = stablehlo.broadcast_in_dim %none, dims = [] : (tensor<f32>) -> tensor<4x8xf32>
    %sum = stablehlo.broadcast_in_dim %none, dims = [] : (tensor<f32>) -> tensor<8xf32>
    // expected-remark @below {{split by layers, and joined again: tensor<4x8xf32> for the result}}
    %all:2 = mpmd.for (%sum, %nothing) {atoll.parts = array<i64: 1>, iterations = 2 : ui32}
        (%s: tensor<8xf32>, %p: tensor<4x8xf32>, %m: tensor<ui32>) {
      %0:4 = stablehlo.while(%a = %w, %i = %zero, %h = %x, %ys = %nothing) : tensor<4x8xf32>, tensor<i32>,
          tensor<8xf32>, tensor<4x8xf32> attributes {atoll.layers = array<i64: 0, 0, 1, 1>}
      cond {
        %n = stablehlo.constant dense<4> : tensor<i32>
        %more = stablehlo.compare LT, %i, %n, SIGNED : (tensor<i32>, tensor<i32>) -> tensor<i1>
        stablehlo.return %more : tensor<i1>
      } do {
        %c = stablehlo.constant dense<0> : tensor<i32>
        %three = stablehlo.constant dense<3> : tensor<i32>
        %k = stablehlo.subtract %three, %i : tensor<i32>
        %row = stablehlo.dynamic_slice %a, %k, %c, sizes = [1, 8] : (tensor<4x8xf32>, tensor<i32>, tensor<i32>)
            -> tensor<1x8xf32>
        %r = stablehlo.reshape %row : (tensor<1x8xf32>) -> tensor<8xf32>
        %number = stablehlo.convert %i : (tensor<i32>) -> tensor<f32>
        %numbers = stablehlo.broadcast_in_dim %number, dims = [] : (tensor<f32>) -> tensor<8xf32>
        %plus = stablehlo.add %h, %r : tensor<8xf32>
        %next = stablehlo.multiply %plus, %numbers : tensor<8xf32>
        %y = stablehlo.reshape %next : (tensor<8xf32>) -> tensor<1x8xf32>
        %put = stablehlo.dynamic_update_slice %ys, %y, %k, %c
            : (tensor<4x8xf32>, tensor<1x8xf32>, tensor<i32>, tensor<i32>) -> tensor<4x8xf32>
        %one = stablehlo.constant dense<1> : tensor<i32>
        %j = stablehlo.add %i, %one : tensor<i32>
        stablehlo.return %a, %j, %next, %put : tensor<4x8xf32>, tensor<i32>, tensor<8xf32>, tensor<4x8xf32>
      }
      %t = stablehlo.add %s, %0#2 : tensor<8xf32>
      mpmd.return %t, %0#3 : tensor<8xf32>, tensor<4x8xf32>
    } : tensor<8xf32>, tensor<4x8xf32>
    return %all#0, %all#1 : tensor<8xf32>, tensor<4x8xf32>
  }
}
