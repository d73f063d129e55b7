// RUN: atoll-opt %s --passes "split-branches" | filecheck %s

// Without a conditional there is nothing to split.

// CHECK: negate %arg0 : tensor<4xf32>
func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
  %0 = stablehlo.negate %x : tensor<4xf32>
  return %0 : tensor<4xf32>
}
