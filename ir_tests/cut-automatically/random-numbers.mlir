// RUN: atoll-opt %s --passes "cut-automatically" | filecheck %s

// A loop that only makes numbers of a key is no part of the model that anybody would cut, so no note tells of it. The
// one after it takes a parameter.

// CHECK:     atoll.notes = [{at = ["model.py", 4, 1], kind = "whole-loop", scope = "solver",
// CHECK-NOT: whole-loop
// CHECK:     while
module attributes {atoll.plan = "stages=2", atoll.stages = 2 : i32} {
  func.func @main(%n: tensor<i32> {atoll.path = "n"}, %key: tensor<8xui32> {atoll.path = "key"},
      %x: tensor<8xf32> {atoll.path = "x"}) -> (tensor<8xf32> {atoll.path = "y"}) {
    %zero = stablehlo.constant dense<0> : tensor<i32>
    %0:3 = stablehlo.while(%i = %zero, %last = %n, %h = %key) : tensor<i32>, tensor<i32>, tensor<8xui32>
    cond {
      %more = stablehlo.compare LT, %i, %last, SIGNED : (tensor<i32>, tensor<i32>) -> tensor<i1>
      stablehlo.return %more : tensor<i1>
    } do {
      %one = stablehlo.constant dense<1> : tensor<i32>
      %j = stablehlo.add %i, %one : tensor<i32>
      %next = stablehlo.add %h, %h : tensor<8xui32>
      stablehlo.return %j, %last, %next : tensor<i32>, tensor<i32>, tensor<8xui32>
    } loc("jit(f)/dropout/while"("model.py":3:1))
    %noise = stablehlo.convert %0#2 : (tensor<8xui32>) -> tensor<8xf32>
    %1 = stablehlo.add %noise, %x : tensor<8xf32>
    %2:3 = stablehlo.while(%i = %zero, %last = %n, %h = %1) : tensor<i32>, tensor<i32>, tensor<8xf32>
    cond {
      %more = stablehlo.compare LT, %i, %last, SIGNED : (tensor<i32>, tensor<i32>) -> tensor<i1>
      stablehlo.return %more : tensor<i1>
    } do {
      %one = stablehlo.constant dense<1> : tensor<i32>
      %j = stablehlo.add %i, %one : tensor<i32>
      %next = stablehlo.sine %h : tensor<8xf32>
      stablehlo.return %j, %last, %next : tensor<i32>, tensor<i32>, tensor<8xf32>
    } loc("jit(f)/solver/while"("model.py":4:1))
    %3 = stablehlo.cosine %2#2 : tensor<8xf32>
    return %3 : tensor<8xf32>
  }
}
