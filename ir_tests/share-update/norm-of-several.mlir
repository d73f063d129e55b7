// RUN: atoll-opt %s --passes "share-update" | filecheck %s

// Sums that are only added up are exchanged as one. What is added to them and is the same for all, such as the sum over
// an array that replicas cannot share, counts once. A sum that something else takes as well is exchanged by itself.

// CHECK:      [[A:%.*]] = stablehlo.reduce(%arg0 init:
// CHECK:      [[B:%.*]] = stablehlo.reduce(%arg1 init:
// CHECK:      [[C:%.*]] = stablehlo.reduce(%arg2 init:
// CHECK:      [[D:%.*]] = stablehlo.reduce(%arg3 init:
// CHECK:      [[AB:%.*]] = stablehlo.add [[A]], [[B]] : tensor<f32>
// CHECK:      [[PARTS:%.*]] = stablehlo.custom_call @atoll.exchange([[AB]]) {atoll.exchange = "add"
// CHECK-NEXT: [[ABC:%.*]] = stablehlo.add [[PARTS]], [[C]] : tensor<f32>
// CHECK-NEXT: [[LOGGED:%.*]] = stablehlo.custom_call @atoll.exchange([[D]]) {atoll.exchange = "add"
// CHECK-NEXT: [[NORM:%.*]] = stablehlo.add [[ABC]], [[LOGGED]] : tensor<f32>
// CHECK-NOT:  atoll.exchange = "add"
// CHECK:      return {{.*}}, [[NORM]], [[LOGGED]]
module attributes {atoll.plan = "replicas=2, update=sharded", atoll.topology = "2 x cpu[1]"} {
  func.func @main(
      %a: tensor<4xf32> {atoll.path = "state['a']"}, %b: tensor<2xf32> {atoll.path = "state['b']"},
      %c: tensor<3xf32> {atoll.path = "state['c']"}, %d: tensor<2xf32> {atoll.path = "state['d']"})
      -> (tensor<4xf32> {atoll.path = "result['a']"}, tensor<2xf32> {atoll.path = "result['b']"},
          tensor<3xf32> {atoll.path = "result['c']"}, tensor<2xf32> {atoll.path = "result['d']"},
          tensor<f32> {atoll.path = "norm"}, tensor<f32> {atoll.path = "logged"}) {
    %zero = stablehlo.constant dense<0.0> : tensor<f32>
    %0 = stablehlo.reduce(%a init: %zero) applies stablehlo.add across dimensions = [0]
        : (tensor<4xf32>, tensor<f32>) -> tensor<f32>
    %1 = stablehlo.reduce(%b init: %zero) applies stablehlo.add across dimensions = [0]
        : (tensor<2xf32>, tensor<f32>) -> tensor<f32>
    %2 = stablehlo.reduce(%c init: %zero) applies stablehlo.add across dimensions = [0]
        : (tensor<3xf32>, tensor<f32>) -> tensor<f32>
    %3 = stablehlo.reduce(%d init: %zero) applies stablehlo.add across dimensions = [0]
        : (tensor<2xf32>, tensor<f32>) -> tensor<f32>
    %4 = stablehlo.add %zero, %0 : tensor<f32>
    %5 = stablehlo.add %4, %1 : tensor<f32>
    %6 = stablehlo.add %5, %2 : tensor<f32>
    %norm = stablehlo.add %6, %3 : tensor<f32>
    %7 = stablehlo.add %a, %a : tensor<4xf32>
    %8 = stablehlo.add %b, %b : tensor<2xf32>
    %9 = stablehlo.add %c, %c : tensor<3xf32>
    %10 = stablehlo.add %d, %d : tensor<2xf32>
    return %7, %8, %9, %10, %norm, %3
        : tensor<4xf32>, tensor<2xf32>, tensor<3xf32>, tensor<2xf32>, tensor<f32>, tensor<f32>
  }
}
