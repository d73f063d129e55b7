// RUN: atoll-opt %s --passes "stage, place, schedule"

// Two stages and four microbatches: the loop calls the function of one, whose fragments are there once; the sums begin
// as zeros, go on where they are made and are used after the loop; results of examples are parts, one a microbatch.

module attributes {atoll.phase = "timed", atoll.plan = "stages=\"a | b\", microbatches=4, schedule=zb-h1",
    atoll.topology = "2 x cpu[1]"} {
  func.func public @main(
      %w: tensor<4x4xf32> {atoll.path = "w", atoll.donated},
      %v: tensor<4x4xf32> {atoll.path = "v", atoll.donated},
      %x: tensor<2x4xf32> {atoll.batch, atoll.parts = 4 : i32, atoll.path = "x"})
      -> (tensor<4x4xf32> {atoll.path = "result[0]"}, tensor<4x4xf32> {atoll.path = "result[1]"},
      tensor<2x4xf32> {atoll.path = "result[2]", atoll.parts = 4 : i32}, tensor<f32> {atoll.path = "result[3]"}) {
    %zero = stablehlo.constant dense<0.0> : tensor<4x4xf32>
    %zs = stablehlo.constant dense<0.0> : tensor<f32>
    %none = stablehlo.constant dense<0.0> : tensor<2x4xf32>
    %r:4 = mpmd.for (%zero, %zero, %none, %zs) {iterations = 4 : ui32, atoll.parts = array<i64: 2>}
        (%dw: tensor<4x4xf32>, %dv: tensor<4x4xf32>, %p: tensor<2x4xf32>, %l: tensor<f32>, %index: tensor<ui32>) {
      %c = stablehlo.constant dense<0.0> : tensor<f32>
      %if = stablehlo.convert %index : (tensor<ui32>) -> tensor<f32>
      %ib = stablehlo.broadcast_in_dim %if, dims = [] : (tensor<f32>) -> tensor<2x4xf32>
      %h = stablehlo.dot_general %x, %w, contracting_dims = [1] x [0] : (tensor<2x4xf32>, tensor<4x4xf32>)
          -> tensor<2x4xf32> loc("jit(f)/jvp(a)/dot_general")
      %h2 = stablehlo.add %h, %ib : tensor<2x4xf32> loc("jit(f)/jvp(a)/add")
      %y = stablehlo.dot_general %h2, %v, contracting_dims = [1] x [0] : (tensor<2x4xf32>, tensor<4x4xf32>)
          -> tensor<2x4xf32> loc("jit(f)/jvp(b)/dot_general")
      %s = stablehlo.reduce(%y init: %c) applies stablehlo.add across dimensions = [0, 1]
          : (tensor<2x4xf32>, tensor<f32>) -> tensor<f32> loc("jit(f)/jvp(b)/reduce_sum")
      %lo = stablehlo.add %l, %s : tensor<f32> loc("jit(f)/jvp(b)/reduce_sum")
      %one = stablehlo.constant dense<1.0> : tensor<2x4xf32>
      %gv = stablehlo.dot_general %h2, %one, contracting_dims = [0] x [0] : (tensor<2x4xf32>, tensor<2x4xf32>)
          -> tensor<4x4xf32> loc("jit(f)/transpose(jvp(b))/dot_general")
      %gvo = stablehlo.add %dv, %gv : tensor<4x4xf32> loc("jit(f)/transpose(jvp(b))/dot_general")
      %gh = stablehlo.dot_general %one, %v, contracting_dims = [1] x [1] : (tensor<2x4xf32>, tensor<4x4xf32>)
          -> tensor<2x4xf32> loc("jit(f)/transpose(jvp(b))/dot_general")
      %gw = stablehlo.dot_general %x, %gh, contracting_dims = [0] x [0] : (tensor<2x4xf32>, tensor<2x4xf32>)
          -> tensor<4x4xf32> loc("jit(f)/transpose(jvp(a))/dot_general")
      %gwo = stablehlo.add %dw, %gw : tensor<4x4xf32> loc("jit(f)/transpose(jvp(a))/dot_general")
      mpmd.return %gwo, %gvo, %y, %lo : tensor<4x4xf32>, tensor<4x4xf32>, tensor<2x4xf32>, tensor<f32>
    } : tensor<4x4xf32>, tensor<4x4xf32>, tensor<2x4xf32>, tensor<f32>
    %nw = stablehlo.subtract %w, %r#0 : tensor<4x4xf32> loc("jit(f)/sub")
    %nv = stablehlo.subtract %v, %r#1 : tensor<4x4xf32> loc("jit(f)/sub")
    %n = stablehlo.constant dense<32.0> : tensor<f32>
    %loss = stablehlo.divide %r#3, %n : tensor<f32> loc("jit(f)/jvp(b)/div")
    return %nw, %nv, %r#2, %loss : tensor<4x4xf32>, tensor<4x4xf32>, tensor<2x4xf32>, tensor<f32>
  }
}
