// RUN: atoll-opt %s --passes "drop-dead-carries" | filecheck %s

// A loop no longer carries what it only hands on, like %w, or what has no effect on its results, like %d. %s is not
// returned, but %h depends on it.

// CHECK: while({{%.*}} = %c, {{%.*}} = %arg1, {{%.*}} = %arg1) : tensor<i32>, tensor<8xf32>, tensor<8xf32>
// CHECK-NOT: tanh
// CHECK: return %0#1
func.func @main(%w: tensor<4x8xf32>, %x: tensor<8xf32>) -> tensor<8xf32> {
  %zero = stablehlo.constant dense<0> : tensor<i32>
  %0:5 = stablehlo.while(%a = %w, %i = %zero, %h = %x, %s = %x, %d = %x) : tensor<4x8xf32>, tensor<i32>, tensor<8xf32>,
      tensor<8xf32>, tensor<8xf32>
  cond {
    %n = stablehlo.constant dense<4> : tensor<i32>
    %more = stablehlo.compare LT, %i, %n, SIGNED : (tensor<i32>, tensor<i32>) -> tensor<i1>
    stablehlo.return %more : tensor<i1>
  } do {
    %one = stablehlo.constant dense<1> : tensor<i32>
    %j = stablehlo.add %i, %one : tensor<i32>
    %next = stablehlo.add %h, %s : tensor<8xf32>
    %t = stablehlo.negate %s : tensor<8xf32>
    %e = stablehlo.tanh %d : tensor<8xf32>
    stablehlo.return %a, %j, %next, %t, %e : tensor<4x8xf32>, tensor<i32>, tensor<8xf32>, tensor<8xf32>, tensor<8xf32>
  }
  return %0#2 : tensor<8xf32>
}
