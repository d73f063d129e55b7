// RUN: atoll-opt %s --passes 'mark-arguments{batch=["arg[2..3]"] donate=[arg1]}' --split-input-file | filecheck %s

// Without names arguments and results have numbers: what is donated is replaced by the first result of its type.

// CHECK:      @main(%arg0: tensor<4xf32> {atoll.donated, atoll.path = "arg0"},
// CHECK-SAME:   %arg1: tensor<4xf32> {atoll.donated, atoll.path = "arg1"},
// CHECK-SAME:   %arg2: tensor<8xf32> {atoll.batch, atoll.path = "arg2"},
// CHECK-SAME:   %arg3: tensor<8xf32> {atoll.batch, atoll.path = "arg3"})
// CHECK-SAME: -> (tensor<4xf32> {atoll.path = "result[0]"}, tensor<8xf32> {atoll.path = "result[1]"})
func.func @main(
    %v: tensor<4xf32> {jax.buffer_donor = true},
    %w: tensor<4xf32>,
    %x: tensor<8xf32>,
    %y: tensor<8xf32>)
    -> (tensor<4xf32> {jax.result_info = "result['w']"}, tensor<8xf32> {jax.result_info = "result['y']"}) {
  return %w, %y : tensor<4xf32>, tensor<8xf32>
}

// -----

// A name that two arguments have, or that is no path, is none.
// CHECK:      @main(%arg0: tensor<f32> {atoll.path = "arg0"}, %arg1: tensor<f32> {atoll.donated, atoll.path = "arg1"},
// CHECK-SAME:   %arg2: tensor<2xf32> {atoll.batch, atoll.path = "arg2"})
// CHECK-SAME: -> (tensor<f32> {atoll.path = "result"})
func.func @main(%a: tensor<f32> loc("x"), %b: tensor<f32> loc("x"), %c: tensor<2xf32> loc("p0.1")) -> tensor<f32> {
  return %a : tensor<f32>
}
