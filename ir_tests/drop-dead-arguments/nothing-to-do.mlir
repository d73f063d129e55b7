// RUN: atoll-opt %s --passes "drop-dead-arguments" --split-input-file | filecheck %s

// What is used stays, and so does every argument of a function other than @main.

// CHECK: @main(%arg0: tensor<f32>)
func.func @main(%x: tensor<f32>) -> tensor<f32> {
  return %x : tensor<f32>
}

// -----

// Only @main: other functions have callers who would have to change too.
// CHECK: @other(%arg0: tensor<f32>)
func.func @main() {
  return
}

func.func private @other(%unused: tensor<f32>) {
  return
}
