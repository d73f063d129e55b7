// RUN: atoll-opt %s --passes "normalize"

// A model of two layers, as jax exports it: both call one private @relu, and nothing uses the last argument.

module @jit_step {
  func.func public @main(
      %w0: tensor<4x4xf32> {atoll.path = "params['layer_0']"},
      %w1: tensor<4x4xf32> {atoll.path = "params['layer_1']"},
      %x: tensor<8x4xf32> {atoll.batch, atoll.path = "x"},
      %rate: tensor<f32> {atoll.path = "rate"})
      -> (tensor<8x4xf32> {atoll.path = "result"}) {
    %0 = stablehlo.dot_general %x, %w0, contracting_dims = [1] x [0] : (tensor<8x4xf32>, tensor<4x4xf32>)
        -> tensor<8x4xf32>
    %1:2 = call @relu(%0, %rate) : (tensor<8x4xf32>, tensor<f32>) -> (tensor<8x4xf32>, tensor<f32>)
    %2 = stablehlo.dot_general %1#0, %w1, contracting_dims = [1] x [0] : (tensor<8x4xf32>, tensor<4x4xf32>)
        -> tensor<8x4xf32>
    %3:2 = call @relu(%2, %1#1) : (tensor<8x4xf32>, tensor<f32>) -> (tensor<8x4xf32>, tensor<f32>)
    return %3#0 : tensor<8x4xf32>
  }
  func.func private @relu(%x: tensor<8x4xf32>, %rate: tensor<f32>) -> (tensor<8x4xf32>, tensor<f32>) {
    %cst = stablehlo.constant dense<0.0> : tensor<f32>
    %0 = stablehlo.broadcast_in_dim %cst, dims = [] : (tensor<f32>) -> tensor<8x4xf32>
    %1 = stablehlo.maximum %x, %0 : tensor<8x4xf32>
    %2 = stablehlo.negate %rate : tensor<f32>
    return %1, %2 : tensor<8x4xf32>, tensor<f32>
  }
}
