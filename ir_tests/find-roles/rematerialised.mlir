// RUN: atoll-opt %s --passes "find-roles" --debug-info | filecheck %s

// What is computed once more behind a barrier, as `jax.checkpoint` has it, is rematerialised, and makes no gradient.

// CHECK:     tanh {{%.*}} loc(#[[ONCE:loc[0-9]+]])
// CHECK:     optimization_barrier
// CHECK:     dot_general {{.*}} loc(#[[AGAIN:loc[0-9]+]])
// CHECK-DAG: #[[ONCE]] = loc("jvp()/tanh"
// CHECK-DAG: #[[AGAIN]] = loc("transpose(jvp())/rematted_computation/dot_general"

func.func @main(%w: tensor<4x4xf32>, %v: tensor<4x4xf32>, %x: tensor<8x4xf32>)
    -> (tensor<4x4xf32>, tensor<4x4xf32>, tensor<8x4xf32>) {
  %y0 = stablehlo.dot_general %x, %w, contracting_dims = [1] x [0]
      : (tensor<8x4xf32>, tensor<4x4xf32>) -> tensor<8x4xf32>
  %h = stablehlo.tanh %y0 : tensor<8x4xf32>
  %y1 = stablehlo.dot_general %h, %v, contracting_dims = [1] x [0]
      : (tensor<8x4xf32>, tensor<4x4xf32>) -> tensor<8x4xf32>
  %dh = stablehlo.dot_general %y1, %v, contracting_dims = [1] x [1]
      : (tensor<8x4xf32>, tensor<4x4xf32>) -> tensor<8x4xf32>
  %b:3 = stablehlo.optimization_barrier %x, %w, %dh : tensor<8x4xf32>, tensor<4x4xf32>, tensor<8x4xf32>
  %y2 = stablehlo.dot_general %b#0, %b#1, contracting_dims = [1] x [0]
      : (tensor<8x4xf32>, tensor<4x4xf32>) -> tensor<8x4xf32>
  %h2 = stablehlo.tanh %y2 : tensor<8x4xf32>
  %dv = stablehlo.dot_general %h2, %y1, contracting_dims = [0] x [0]
      : (tensor<8x4xf32>, tensor<8x4xf32>) -> tensor<4x4xf32>
  %dy = stablehlo.multiply %b#2, %h2 : tensor<8x4xf32>
  %dw = stablehlo.dot_general %b#0, %dy, contracting_dims = [0] x [0]
      : (tensor<8x4xf32>, tensor<8x4xf32>) -> tensor<4x4xf32>
  %new_w = stablehlo.subtract %w, %dw : tensor<4x4xf32>
  %new_v = stablehlo.subtract %v, %dv : tensor<4x4xf32>
  return %new_w, %new_v, %y1 : tensor<4x4xf32>, tensor<4x4xf32>, tensor<8x4xf32>
}
