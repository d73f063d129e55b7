// RUN: atoll-opt %s --passes "inline-calls" | filecheck %s

// The body of the callee takes the place of the call.

// CHECK-LABEL: @main(%arg0
// CHECK-NEXT:    [[Y:%.*]] = stablehlo.negate %arg0
// CHECK-NEXT:    return [[Y]]
func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
  %y = call @negated(%x) : (tensor<4xf32>) -> tensor<4xf32>
  return %y : tensor<4xf32>
}

// The callee stays for symbol-dce, which knows whether anything else names it.
// CHECK: func.func private @negated
func.func private @negated(%x: tensor<4xf32>) -> tensor<4xf32> {
  %y = stablehlo.negate %x : tensor<4xf32>
  return %y : tensor<4xf32>
}
