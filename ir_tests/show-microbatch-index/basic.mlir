// RUN: atoll-opt %s --passes "hide-microbatch-index, show-microbatch-index" | filecheck %s

// Each of two loops gets its own number back.

// CHECK-NOT:  atoll.index
// CHECK:      mpmd.for {{.*}} [[I:%[a-z0-9_]+]]: tensor<ui32>) {
// CHECK-NEXT: convert [[I]]
// CHECK:      mpmd.for {{.*}} [[J:%[a-z0-9_]+]]: tensor<ui32>) {
// CHECK-NEXT: convert [[J]]
module {
  func.func @main() -> tensor<f32> {
    %zero = stablehlo.constant dense<0.0> : tensor<f32>
    %0 = mpmd.for (%zero) {iterations = 4 : ui32} (%a: tensor<f32>, %i: tensor<ui32>) {
      %1 = stablehlo.convert %i : (tensor<ui32>) -> tensor<f32>
      %2 = stablehlo.add %a, %1 : tensor<f32>
      mpmd.return %2 : tensor<f32>
    } : tensor<f32>
    %3 = mpmd.for (%0) {iterations = 4 : ui32} (%a: tensor<f32>, %i: tensor<ui32>) {
      %1 = stablehlo.convert %i : (tensor<ui32>) -> tensor<f32>
      %2 = stablehlo.add %a, %1 : tensor<f32>
      mpmd.return %2 : tensor<f32>
    } : tensor<f32>
    return %3 : tensor<f32>
  }
}
