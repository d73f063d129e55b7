// RUN: atoll-opt %s --passes "inline-calls" | filecheck %s

// Each call gets a copy of its own.

// CHECK-LABEL: @main(%arg0
// CHECK-NEXT:    [[Y:%.*]] = stablehlo.negate %arg0
// CHECK-NEXT:    [[Z:%.*]] = stablehlo.negate [[Y]]
// CHECK-NEXT:    return [[Z]]
func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
  %y = call @negated(%x) : (tensor<4xf32>) -> tensor<4xf32>
  %z = call @negated(%y) : (tensor<4xf32>) -> tensor<4xf32>
  return %z : tensor<4xf32>
}

// CHECK-LABEL: func.func @negated(%arg0
// CHECK-NEXT:    stablehlo.negate %arg0
func.func @negated(%x: tensor<4xf32>) -> tensor<4xf32> {
  %y = stablehlo.negate %x : tensor<4xf32>
  return %y : tensor<4xf32>
}
