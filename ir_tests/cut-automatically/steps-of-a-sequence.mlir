// RUN: atoll-opt %s --passes "cut-automatically" | filecheck %s

// A loop whose rows are not parameters goes over the steps of a sequence: it stays whole, the cut is elsewhere, and the
// module says why.

// CHECK: atoll.notes = [{at = ["train.py", 3, 1], kind = "whole-loop", scope = "layers",
// CHECK-SAME: why = "its iterations share more parameters than they have of their own"}
// CHECK-SAME: kind = "uneven-stages", shares = "89%, 11%", why = "while and what belongs to it, 89%, are in one piece"}
// CHECK: stablehlo.while{{.*}} {atoll.stage = 0 : i32}
// CHECK: {atoll.stage = 1 : i32}
module attributes {atoll.plan = "stages=2", atoll.stages = 2 : i32, atoll.topology = "2 x cpu[1]"} {
  func.func @main(%v: tensor<1xf32> {atoll.path = "v"}, %w: tensor<4xf32> {atoll.path = "w", atoll.batch},
      %x: tensor<1xf32> {atoll.path = "x", atoll.batch})
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
    } loc("jit(step)/layers/while"("train.py":3:1))
    %1 = stablehlo.add %0#2, %v : tensor<1xf32>
    %2 = stablehlo.tanh %1 : tensor<1xf32>
    return %2 : tensor<1xf32>
  }
}
