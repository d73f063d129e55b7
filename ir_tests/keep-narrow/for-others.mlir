// RUN: atoll-opt %s --passes "keep-narrow" | filecheck %s

// The first value leaves @main, and is there with all of its bits in any case. So is the second, which the loop hands
// on. The third another stage multiplies, to which it goes as it is; the fourth is no float32; and the fifth is also
// added to something.

// CHECK-NOT: convert
module attributes {
  atoll.plan = "stages=2, microbatches=4", atoll.stages = 2 : i32, atoll.topology = "2 x v5e[1x1]"
} {
  func.func @main(%x: tensor<4x4xf32>, %h: tensor<4x4xbf16>)
      -> (tensor<4x4xf32>, tensor<4x4xf32>, tensor<4x4xf32>, tensor<4x4xf32>, tensor<4x4xbf16>, tensor<4x4xf32>) {
    %zero = stablehlo.constant dense<0.0> : tensor<4x4xf32>
    %0:2 = mpmd.for (%zero, %zero) {atoll.role = "FB", iterations = 4 : ui32}
        (%a: tensor<4x4xf32>, %b: tensor<4x4xf32>, %i: tensor<ui32>) {
      %c = stablehlo.cosine %x {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<4x4xf32>
      %4 = stablehlo.dot_general %c, %x, contracting_dims = [1] x [0]
          {atoll.stage = 0 : i32, atoll.sweep = 1 : i32} : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
      mpmd.return %4, %c : tensor<4x4xf32>, tensor<4x4xf32>
    } : tensor<4x4xf32>, tensor<4x4xf32>
    %u = stablehlo.tanh %x {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<4x4xf32>
    %z = stablehlo.sine %x {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<4x4xf32>
    %w = stablehlo.tanh %h {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<4x4xbf16>
    %v = stablehlo.tanh %x {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<4x4xf32>
    %1 = stablehlo.dot_general %u, %x, contracting_dims = [1] x [0]
        {atoll.stage = 0 : i32, atoll.sweep = 1 : i32} : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
    %2 = stablehlo.dot_general %z, %x, contracting_dims = [1] x [0]
        {atoll.stage = 1 : i32, atoll.sweep = 1 : i32} : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
    %3 = stablehlo.dot_general %w, %h, contracting_dims = [1] x [0]
        {atoll.stage = 0 : i32, atoll.sweep = 1 : i32} : (tensor<4x4xbf16>, tensor<4x4xbf16>) -> tensor<4x4xbf16>
    %5 = stablehlo.dot_general %v, %x, contracting_dims = [1] x [0]
        {atoll.stage = 0 : i32, atoll.sweep = 1 : i32} : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
    %6 = stablehlo.add %v, %5 {atoll.stage = 0 : i32, atoll.sweep = 1 : i32} : tensor<4x4xf32>
    return %u, %0#0, %1, %2, %3, %6
        : tensor<4x4xf32>, tensor<4x4xf32>, tensor<4x4xf32>, tensor<4x4xf32>, tensor<4x4xbf16>, tensor<4x4xf32>
  }
}
