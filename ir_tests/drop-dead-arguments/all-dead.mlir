// RUN: atoll-opt %s --passes "drop-dead-arguments" | filecheck %s

// A function whose arguments are all unused has none left.

// CHECK: @main() -> tensor<f32>
func.func @main(%unused: tensor<f32>) -> tensor<f32> {
  %one = stablehlo.constant dense<1.0> : tensor<f32>
  return %one : tensor<f32>
}
