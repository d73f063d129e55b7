// RUN: atoll-opt %s --passes "hide-microbatch-index" | filecheck %s

// A number that nothing uses needs no hiding.

// CHECK-NOT: atoll.index
// CHECK:     mpmd.for
module {
  func.func @main(%x: tensor<f32>) -> tensor<f32> {
    %zero = stablehlo.constant dense<0.0> : tensor<f32>
    %0 = mpmd.for (%zero) {iterations = 4 : ui32} (%a: tensor<f32>, %i: tensor<ui32>) {
      %2 = stablehlo.add %a, %x : tensor<f32>
      mpmd.return %2 : tensor<f32>
    } : tensor<f32>
    return %0 : tensor<f32>
  }
}
