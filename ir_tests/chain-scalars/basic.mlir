// RUN: atoll-opt %s --passes "chain-scalars, trivial-dce" | filecheck %s

// A reduction of a stack of scalars, or of a stack of stacks, becomes a chain over the scalars in their order, with the
// initial value last.

// CHECK:      [[TRUE:%.*]] = stablehlo.constant dense<true>
// CHECK-NEXT: [[TWO:%.*]] = stablehlo.and %arg0, %arg1
// CHECK-NEXT: [[THREE:%.*]] = stablehlo.and [[TWO]], %arg2
// CHECK-NEXT: [[ALL:%.*]] = stablehlo.and [[THREE]], [[TRUE]]
// CHECK-NEXT: return [[ALL]]
func.func @main(%a: tensor<i1>, %b: tensor<i1>, %c: tensor<i1>) -> tensor<i1> {
  %true = stablehlo.constant dense<true> : tensor<i1>
  %0 = stablehlo.broadcast_in_dim %a, dims = [] : (tensor<i1>) -> tensor<1xi1>
  %1 = stablehlo.broadcast_in_dim %b, dims = [] : (tensor<i1>) -> tensor<1xi1>
  %2 = stablehlo.reshape %c : (tensor<i1>) -> tensor<1xi1>
  %3 = stablehlo.concatenate %0, %1, dim = 0 : (tensor<1xi1>, tensor<1xi1>) -> tensor<2xi1>
  %4 = stablehlo.concatenate %3, %2, dim = 0 : (tensor<2xi1>, tensor<1xi1>) -> tensor<3xi1>
  %5 = stablehlo.reduce(%4 init: %true) applies stablehlo.and across dimensions = [0] : (tensor<3xi1>, tensor<i1>)
      -> tensor<i1>
  return %5 : tensor<i1>
}
