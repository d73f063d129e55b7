// RUN: atoll-opt %s --passes "hide-microbatch-index" | filecheck %s

// The index becomes a marked constant before the loop, so that no task has it as an argument of the loop's body.

// CHECK:      [[I:%.*]] = stablehlo.constant {atoll.index} dense<0> : tensor<ui32>
// CHECK-NEXT: mpmd.for
// CHECK-NEXT: convert [[I]]
module {
  func.func @main() -> tensor<f32> {
    %zero = stablehlo.constant dense<0.0> : tensor<f32>
    %0 = mpmd.for (%zero) {iterations = 4 : ui32} (%a: tensor<f32>, %i: tensor<ui32>) {
      %1 = stablehlo.convert %i : (tensor<ui32>) -> tensor<f32>
      %2 = stablehlo.add %a, %1 : tensor<f32>
      mpmd.return %2 : tensor<f32>
    } : tensor<f32>
    return %0 : tensor<f32>
  }
}
