// RUN: atoll-opt %s --passes "inline-calls" | filecheck %s

// Without calls nothing changes, and a function that nothing calls stays.

// CHECK-LABEL: @main(%arg0
// CHECK-NEXT:    return %arg0
// CHECK:       func.func private @unused
func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
  return %x : tensor<4xf32>
}

func.func private @unused(%x: tensor<4xf32>) -> tensor<4xf32> {
  return %x : tensor<4xf32>
}
