// RUN: atoll-opt %s --passes "inline-calls, symbol-dce" | filecheck %s

// Several results, no arguments, no results, an argument handed back, a callee without operations.

// CHECK-LABEL: @main(%arg0
// CHECK-NEXT:    [[N:%.*]] = stablehlo.negate %arg0
// CHECK-NEXT:    [[ONE:%.*]] = stablehlo.constant dense<1.0
// CHECK-NEXT:    [[SUM:%.*]] = stablehlo.add %arg0, [[ONE]]
// CHECK-NEXT:    return [[N]], [[SUM]], [[N]]
func.func @main(%x: tensor<f32>) -> (tensor<f32>, tensor<f32>, tensor<f32>) {
  %both:2 = call @negated_and_itself(%x) : (tensor<f32>) -> (tensor<f32>, tensor<f32>)
  %one = call @one() : () -> tensor<f32>
  call @nothing() : () -> ()
  %sum = stablehlo.add %both#1, %one : tensor<f32>
  return %both#0, %sum, %both#0 : tensor<f32>, tensor<f32>, tensor<f32>
}

func.func private @negated_and_itself(%x: tensor<f32>) -> (tensor<f32>, tensor<f32>) {
  %n = stablehlo.negate %x : tensor<f32>
  return %n, %x : tensor<f32>, tensor<f32>
}

func.func private @one() -> tensor<f32> {
  %one = stablehlo.constant dense<1.0> : tensor<f32>
  return %one : tensor<f32>
}

func.func private @nothing() {
  return
}
