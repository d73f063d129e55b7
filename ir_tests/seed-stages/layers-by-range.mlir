// RUN: atoll-opt %s --passes "seed-stages" | filecheck %s

// A range of iterations names the layers of a loop, and the loop says which stage each is on.

// CHECK: stablehlo.while{{.*}} {atoll.layers = array<i64: 0, 1, 1, 1>}
// CHECK: tanh {{%.*}} {atoll.stage = 1 : i32}
module attributes {atoll.plan = "stages=\"layers[0..0] | layers[1..3], head\"", atoll.topology = "2 x cpu[1]"} {
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
      %row = stablehlo.dynamic_slice %a, %i, sizes = [1] : (tensor<4xf32>, tensor<i32>) -> tensor<1xf32>
      %next = stablehlo.add %h, %row : tensor<1xf32>
      %j = stablehlo.add %i, %one : tensor<i32>
      stablehlo.return %a, %j, %next : tensor<4xf32>, tensor<i32>, tensor<1xf32>
    } loc("jit(step)/layers/while")
    %1 = stablehlo.tanh %0#2 : tensor<1xf32> loc("jit(step)/head/tanh")
    return %1 : tensor<1xf32>
  }
}
