// RUN: atoll-opt %s --passes "seed-stages" | filecheck %s

// Ranges count iterations as they run, and the mark on the loop counts layers: in a loop that begins with the last
// layer, that one is iteration 0.

// CHECK: stablehlo.while{{.*}} {atoll.layers = array<i64: 1, 1, 1, 0>}
module attributes {atoll.plan = "stages=\"layers[0..0] | layers[1..3]\"", atoll.topology = "2 x cpu[1]"} {
  func.func @main(%w: tensor<4xf32> {atoll.path = "w"}, %x: tensor<1xf32> {atoll.path = "x"})
      -> (tensor<1xf32> {atoll.path = "y"}) {
    %zero = stablehlo.constant dense<0> : tensor<i32>
    %one = stablehlo.constant dense<1> : tensor<i32>
    %three = stablehlo.constant dense<3> : tensor<i32>
    %four = stablehlo.constant dense<4> : tensor<i32>
    %0:3 = stablehlo.while(%a = %w, %i = %zero, %h = %x) : tensor<4xf32>, tensor<i32>, tensor<1xf32>
    cond {
      %more = stablehlo.compare LT, %i, %four : (tensor<i32>, tensor<i32>) -> tensor<i1>
      stablehlo.return %more : tensor<i1>
    } do {
      %k = stablehlo.subtract %three, %i : tensor<i32>
      %row = stablehlo.dynamic_slice %a, %k, sizes = [1] : (tensor<4xf32>, tensor<i32>) -> tensor<1xf32>
      %next = stablehlo.add %h, %row : tensor<1xf32>
      %j = stablehlo.add %i, %one : tensor<i32>
      stablehlo.return %a, %j, %next : tensor<4xf32>, tensor<i32>, tensor<1xf32>
    } loc("jit(step)/layers/while")
    return %0#2 : tensor<1xf32>
  }
}
