// RUN: atoll-opt %s --passes "stage, place, schedule"

// A train step of two layers, as it leaves the phase before: forward, backward and update, with
// a rate that is a constant.

module @jit_step attributes {atoll.phase = "stablehlo", atoll.plan = "stages=\"layer_0 | layer_1\"",
    atoll.topology = "2 x cpu[1]"} {
  func.func public @main(
      %w0: tensor<4x4xf32> {atoll.path = "params['layer_0']", atoll.donated},
      %w1: tensor<4x4xf32> {atoll.path = "params['layer_1']", atoll.donated},
      %x: tensor<8x4xf32> {atoll.batch, atoll.path = "x"})
      -> (tensor<4x4xf32> {atoll.path = "result[0]['layer_0']"}, tensor<4x4xf32> {atoll.path = "result[0]['layer_1']"},
      tensor<f32> {atoll.path = "result[1]"}) {
    %zero = stablehlo.constant dense<0.0> : tensor<f32>
    %rate = stablehlo.constant dense<0.1> : tensor<f32>
    %h = stablehlo.dot_general %x, %w0, contracting_dims = [1] x [0] : (tensor<8x4xf32>, tensor<4x4xf32>)
        -> tensor<8x4xf32> loc("jit(step)/jvp(layer_0)/dot_general")
    %y = stablehlo.dot_general %h, %w1, contracting_dims = [1] x [0] : (tensor<8x4xf32>, tensor<4x4xf32>)
        -> tensor<8x4xf32> loc("jit(step)/jvp(layer_1)/dot_general")
    %loss = stablehlo.reduce(%y init: %zero) applies stablehlo.add across dimensions = [0, 1]
        : (tensor<8x4xf32>, tensor<f32>) -> tensor<f32> loc("jit(step)/jvp()/reduce_sum")
    %ones = stablehlo.constant dense<1.0> : tensor<8x4xf32>
    %dw1 = stablehlo.dot_general %h, %ones, contracting_dims = [0] x [0] : (tensor<8x4xf32>, tensor<8x4xf32>)
        -> tensor<4x4xf32> loc("jit(step)/transpose(jvp(layer_1))/dot_general")
    %dh = stablehlo.dot_general %ones, %w1, contracting_dims = [1] x [1] : (tensor<8x4xf32>, tensor<4x4xf32>)
        -> tensor<8x4xf32> loc("jit(step)/transpose(jvp(layer_1))/dot_general")
    %dw0 = stablehlo.dot_general %x, %dh, contracting_dims = [0] x [0] : (tensor<8x4xf32>, tensor<8x4xf32>)
        -> tensor<4x4xf32> loc("jit(step)/transpose(jvp(layer_0))/dot_general")
    %rates = stablehlo.broadcast_in_dim %rate, dims = [] : (tensor<f32>) -> tensor<4x4xf32>
        loc("jit(step)/broadcast_in_dim")
    %s0 = stablehlo.multiply %rates, %dw0 : tensor<4x4xf32> loc("jit(step)/mul")
    %n0 = stablehlo.subtract %w0, %s0 : tensor<4x4xf32> loc("jit(step)/sub")
    %s1 = stablehlo.multiply %rates, %dw1 : tensor<4x4xf32> loc("jit(step)/mul")
    %n1 = stablehlo.subtract %w1, %s1 : tensor<4x4xf32> loc("jit(step)/sub")
    return %n0, %n1, %loss : tensor<4x4xf32>, tensor<4x4xf32>, tensor<f32>
  }
}
