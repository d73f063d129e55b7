// RUN: atoll-opt %s --passes "cut-automatically" | filecheck %s
// RUN: atoll-opt %s --passes "cut-automatically" --verify-diagnostics


// How often this loop runs depends on the data, so it has no layers to cut between. It is one step of the model, on one
// stage, and the module tells why.
// CHECK:      atoll.notes = [{at = [{{.*}}], kind = "whole-loop", scope = "solver", why = "its length depends on data"}]
// CHECK:      while
// CHECK-SAME: {atoll.stage = 0 : i32}
// CHECK:      cosine {{.*}} {atoll.stage = 1 : i32}
module attributes {atoll.plan = "stages=2", atoll.stages = 2 : i32} {
  func.func @main(%n: tensor<i32> {atoll.path = "n"}, %x: tensor<8xf32> {atoll.path = "x"}) -> (tensor<8xf32> {atoll.path = "y"}) {
    %zero = stablehlo.constant dense<0> : tensor<i32>
    // expected-remark @unknown {{not cut, and on one stage: the loop in scope solver, as its length depends on data}}
    %0:3 = stablehlo.while(%i = %zero, %last = %n, %h = %x) : tensor<i32>, tensor<i32>, tensor<8xf32>
    cond {
      %more = stablehlo.compare LT, %i, %last, SIGNED : (tensor<i32>, tensor<i32>) -> tensor<i1>
      stablehlo.return %more : tensor<i1>
    } do {
      %one = stablehlo.constant dense<1> : tensor<i32>
      %j = stablehlo.add %i, %one : tensor<i32>
      %next = stablehlo.sine %h : tensor<8xf32>
      stablehlo.return %j, %last, %next : tensor<i32>, tensor<i32>, tensor<8xf32>
    } loc("jit(f)/solver/while"("model.py":4:1))
    %1 = stablehlo.cosine %0#2 : tensor<8xf32>
    return %1 : tensor<8xf32>
  }
}
