// RUN: atoll-opt %s --passes "verify-stablehlo" | filecheck %s

// Arguments and results have paths of their own: a name that both have is not twice the same.

// CHECK: atoll.phase = "stablehlo"
func.func @main(%x: tensor<f32> {atoll.path = "x"}) -> (tensor<f32> {atoll.path = "x"}) {
  return %x : tensor<f32>
}
