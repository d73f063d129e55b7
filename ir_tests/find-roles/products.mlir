// RUN: atoll-opt %s --passes "find-roles" --debug-info | filecheck %s

// A train step of two layers as jax writes it without locations: products of gradients take a factor of the model's
// products once more, and what depends on them on the way to a new parameter is backward. The loss is forward, and its
// gradient backward. What no gradient comes into, and stands in the model, is kept for the backward part.

// CHECK:     dot_general %arg2, %arg0, {{.*}} loc(#[[FORWARD_DOT:loc[0-9]+]])
// CHECK:     tanh {{.*}} loc(#[[FORWARD_TANH:loc[0-9]+]])
// CHECK:     subtract {{.*}} loc(#[[FORWARD_SUBTRACT:loc[0-9]+]])
// CHECK:     dot_general {{%.*}}, %arg1, {{.*}} loc(#[[FORWARD_DOT_1:loc[0-9]+]])
// CHECK:     reduce({{.*}} loc(#[[LOSS:loc[0-9]+]])
// CHECK:     add {{.*}} loc(#[[HEAD:loc[0-9]+]])
// CHECK:     dot_general {{.*}} tensor<4x4xf32> loc(#[[GRADIENT:loc[0-9]+]])
// CHECK:     transpose {{.*}} loc(#[[SHAPED:loc[0-9]+]])
// CHECK:     dot_general {{.*}} tensor<8x4xf32> loc(#[[BACKWARD:loc[0-9]+]])
// CHECK:     dot_general {{.*}} tensor<4x4xf32> loc(#[[GRADIENT_0:loc[0-9]+]])
// CHECK:     multiply {{.*}} tensor<4x4xf32> loc(#[[SCALED:loc[0-9]+]])
// CHECK:     subtract %arg0, {{.*}} loc(#[[NEW:loc[0-9]+]])
// CHECK-DAG: #[[FORWARD_DOT]] = loc("jvp()/dot_general"
// CHECK-DAG: #[[FORWARD_TANH]] = loc("jvp()/tanh"
// CHECK-DAG: #[[FORWARD_SUBTRACT]] = loc("jvp()/subtract"
// CHECK-DAG: #[[FORWARD_DOT_1]] = loc("jvp()/dot_general"
// CHECK-DAG: #[[LOSS]] = loc("jvp()/reduce"
// CHECK-DAG: #[[HEAD]] = loc("transpose(jvp())/add"
// CHECK-DAG: #[[GRADIENT]] = loc("transpose(jvp())/dot_general"
// CHECK-DAG: #[[SHAPED]] = loc("transpose(jvp())/transpose"
// CHECK-DAG: #[[BACKWARD]] = loc("transpose(jvp())/dot_general"
// CHECK-DAG: #[[GRADIENT_0]] = loc("transpose(jvp())/dot_general"
// CHECK-DAG: #[[SCALED]] = loc("multiply"
// CHECK-DAG: #[[NEW]] = loc("subtract"

func.func @main(%w0: tensor<4x4xf32>, %w1: tensor<4x4xf32>, %x: tensor<8x4xf32>)
    -> (tensor<4x4xf32>, tensor<4x4xf32>, tensor<f32>) {
  %zero = stablehlo.constant dense<0.0> : tensor<f32>
  %one = stablehlo.constant dense<1.0> : tensor<8x4xf32>
  %rate = stablehlo.constant dense<0.1> : tensor<4x4xf32>
  %y0 = stablehlo.dot_general %x, %w0, contracting_dims = [1] x [0]
      : (tensor<8x4xf32>, tensor<4x4xf32>) -> tensor<8x4xf32>
  %h = stablehlo.tanh %y0 : tensor<8x4xf32>
  %slope = stablehlo.subtract %one, %h : tensor<8x4xf32>
  %y1 = stablehlo.dot_general %h, %w1, contracting_dims = [1] x [0]
      : (tensor<8x4xf32>, tensor<4x4xf32>) -> tensor<8x4xf32>
  %loss = stablehlo.reduce(%y1 init: %zero) applies stablehlo.add across dimensions = [0, 1]
      : (tensor<8x4xf32>, tensor<f32>) -> tensor<f32>
  %dy1 = stablehlo.add %y1, %one : tensor<8x4xf32>
  %t1 = stablehlo.dot_general %dy1, %h, contracting_dims = [0] x [0]
      : (tensor<8x4xf32>, tensor<8x4xf32>) -> tensor<4x4xf32>
  %dw1 = stablehlo.transpose %t1, dims = [1, 0] : (tensor<4x4xf32>) -> tensor<4x4xf32>
  %dh = stablehlo.dot_general %dy1, %w1, contracting_dims = [1] x [1]
      : (tensor<8x4xf32>, tensor<4x4xf32>) -> tensor<8x4xf32>
  %dy0 = stablehlo.multiply %dh, %slope : tensor<8x4xf32>
  %dw0 = stablehlo.dot_general %x, %dy0, contracting_dims = [0] x [0]
      : (tensor<8x4xf32>, tensor<8x4xf32>) -> tensor<4x4xf32>
  %step0 = stablehlo.multiply %dw0, %rate : tensor<4x4xf32>
  %new0 = stablehlo.subtract %w0, %step0 : tensor<4x4xf32>
  %step1 = stablehlo.multiply %dw1, %rate : tensor<4x4xf32>
  %new1 = stablehlo.subtract %w1, %step1 : tensor<4x4xf32>
  return %new0, %new1, %loss : tensor<4x4xf32>, tensor<4x4xf32>, tensor<f32>
}
