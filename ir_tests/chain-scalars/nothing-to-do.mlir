// RUN: atoll-opt %s --passes "chain-scalars" | filecheck %s

// The order of a sum of floating-point numbers is not ours; and a stack of more than scalars stays.

// CHECK-COUNT-2: reduce(
func.func @main(%a: tensor<f32>, %b: tensor<f32>, %c: tensor<2xi32>) -> (tensor<f32>, tensor<i32>) {
  %zero = stablehlo.constant dense<0.0> : tensor<f32>
  %none = stablehlo.constant dense<0> : tensor<i32>
  %0 = stablehlo.reshape %a : (tensor<f32>) -> tensor<1xf32>
  %1 = stablehlo.reshape %b : (tensor<f32>) -> tensor<1xf32>
  %2 = stablehlo.concatenate %0, %1, dim = 0 : (tensor<1xf32>, tensor<1xf32>) -> tensor<2xf32>
  %3 = stablehlo.reduce(%2 init: %zero) applies stablehlo.add across dimensions = [0] : (tensor<2xf32>, tensor<f32>)
      -> tensor<f32>
  %4 = stablehlo.concatenate %c, %c, dim = 0 : (tensor<2xi32>, tensor<2xi32>) -> tensor<4xi32>
  %5 = stablehlo.reduce(%4 init: %none) applies stablehlo.add across dimensions = [0] : (tensor<4xi32>, tensor<i32>)
      -> tensor<i32>
  return %3, %5 : tensor<f32>, tensor<i32>
}
