// RUN: atoll-opt %s --passes "inline-calls, symbol-dce" --debug-info | filecheck %s

// Callers before, between and after what they call: the order in the file does not matter.

// CHECK-NOT: @inner
// CHECK:     stablehlo.negate %arg0 : tensor<4xf32> loc(#[[A:.*]])
// CHECK:     stablehlo.negate %0 : tensor<4xf32> loc(#[[B:.*]])
// CHECK-NOT: stablehlo.negate
func.func private @outer(%x: tensor<4xf32>) -> tensor<4xf32> {
  %y = call @inner(%x) : (tensor<4xf32>) -> tensor<4xf32> loc("b")
  return %y : tensor<4xf32>
}

func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
  %y = call @inner(%x) : (tensor<4xf32>) -> tensor<4xf32> loc("a")
  %z = call @outer(%y) : (tensor<4xf32>) -> tensor<4xf32> loc("a")
  return %z : tensor<4xf32>
}

func.func private @inner(%x: tensor<4xf32>) -> tensor<4xf32> {
  %y = stablehlo.negate %x : tensor<4xf32> loc("neg")
  return %y : tensor<4xf32>
}

// CHECK-DAG: #[[A]] = loc("a/neg")
// CHECK-DAG: #[[B]] = loc("a/b/neg")
