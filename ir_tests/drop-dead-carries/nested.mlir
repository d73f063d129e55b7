// RUN: atoll-opt %s --passes "drop-dead-carries" | filecheck %s

// A loop whose result is taken only by a dead carry goes with it.

// CHECK:     while(%iterArg = %c, %iterArg_{{[0-9]+}} = %arg0) : tensor<i32>, tensor<8xf32>
// CHECK-NOT: while
// CHECK:     return %0#1
func.func @main(%x: tensor<8xf32>) -> tensor<8xf32> {
  %zero = stablehlo.constant dense<0> : tensor<i32>
  %0:3 = stablehlo.while(%i = %zero, %h = %x, %d = %x) : tensor<i32>, tensor<8xf32>, tensor<8xf32>
  cond {
    %n = stablehlo.constant dense<4> : tensor<i32>
    %more = stablehlo.compare LT, %i, %n, SIGNED : (tensor<i32>, tensor<i32>) -> tensor<i1>
    stablehlo.return %more : tensor<i1>
  } do {
    %one = stablehlo.constant dense<1> : tensor<i32>
    %j = stablehlo.add %i, %one : tensor<i32>
    %next = stablehlo.negate %h : tensor<8xf32>
    %1:3 = stablehlo.while(%k = %zero, %e = %d, %u = %d) : tensor<i32>, tensor<8xf32>, tensor<8xf32>
    cond {
      %n = stablehlo.constant dense<2> : tensor<i32>
      %more = stablehlo.compare LT, %k, %n, SIGNED : (tensor<i32>, tensor<i32>) -> tensor<i1>
      stablehlo.return %more : tensor<i1>
    } do {
      %l = stablehlo.add %k, %one : tensor<i32>
      %t = stablehlo.tanh %e : tensor<8xf32>
      stablehlo.return %l, %t, %u : tensor<i32>, tensor<8xf32>, tensor<8xf32>
    }
    stablehlo.return %j, %next, %1#1 : tensor<i32>, tensor<8xf32>, tensor<8xf32>
  }
  return %0#1 : tensor<8xf32>
}
