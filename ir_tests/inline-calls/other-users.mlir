// RUN: atoll-opt %s --passes "inline-calls, symbol-dce" | filecheck %s

// A callee that is named by something other than a call stays.

// CHECK-LABEL: @main(%arg0
// CHECK-NEXT:    [[N:%.*]] = stablehlo.negate %arg0
// CHECK-NEXT:    stablehlo.custom_call @apply([[N]]) {called_computations = [@negated]}
// CHECK:       func.func private @negated
func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
  %y = call @negated(%x) : (tensor<4xf32>) -> tensor<4xf32>
  %z = stablehlo.custom_call @apply(%y) {called_computations = [@negated]} : (tensor<4xf32>) -> tensor<4xf32>
  return %z : tensor<4xf32>
}

func.func private @negated(%x: tensor<4xf32>) -> tensor<4xf32> {
  %y = stablehlo.negate %x : tensor<4xf32>
  return %y : tensor<4xf32>
}
