// RUN: atoll-opt %s --passes "split-layer-loops" | filecheck %s

// A layer may have several rows, and each range has those of its layers.

// CHECK:      %arg0: tensor<6xf32> {atoll.path = "w", atoll.piece = array<i64: 0, 0, 8>}
// CHECK-SAME: %arg1: tensor<2xf32> {atoll.path = "w", atoll.piece = array<i64: 0, 6, 8>}
// CHECK:      do {
// CHECK:        [[TWO:%.*]] = stablehlo.constant dense<2> : tensor<i32>
// CHECK-NEXT:   [[BEGIN:%.*]] = stablehlo.multiply %iterArg_4, [[TWO]]
// CHECK:        stablehlo.dynamic_slice %iterArg, [[BEGIN]], sizes = [2] : (tensor<6xf32>
module attributes {atoll.stages = 2 : i32} {
  func.func @main(%w: tensor<8xf32> {atoll.path = "w"}, %x: tensor<2xf32> {atoll.path = "x"})
      -> (tensor<2xf32> {atoll.path = "y"}) {
    %zero = stablehlo.constant dense<0> : tensor<i32>
    %one = stablehlo.constant dense<1> : tensor<i32>
    %four = stablehlo.constant dense<4> : tensor<i32>
    %two = stablehlo.constant dense<2> : tensor<i32>
    %0:3 = stablehlo.while(%a = %w, %i = %zero, %h = %x) : tensor<8xf32>, tensor<i32>, tensor<2xf32>
        attributes {atoll.layers = array<i64: 0, 0, 0, 1>}
    cond {
      %more = stablehlo.compare LT, %i, %four : (tensor<i32>, tensor<i32>) -> tensor<i1>
      stablehlo.return %more : tensor<i1>
    } do {
      %begin = stablehlo.multiply %i, %two : tensor<i32>
      %rows = stablehlo.dynamic_slice %a, %begin, sizes = [2] : (tensor<8xf32>, tensor<i32>) -> tensor<2xf32>
      %next = stablehlo.add %h, %rows : tensor<2xf32>
      %j = stablehlo.add %i, %one : tensor<i32>
      stablehlo.return %a, %j, %next : tensor<8xf32>, tensor<i32>, tensor<2xf32>
    }
    return %0#2 : tensor<2xf32>
  }
}
