// RUN: atoll-opt %s --passes "verify-stablehlo" | filecheck %s

// An argument and a result may have the same path.

// CHECK: atoll.phase = "stablehlo"
func.func @main(%x: tensor<f32> {atoll.path = "x"}) -> (tensor<f32> {atoll.path = "x"}) {
  return %x : tensor<f32>
}
