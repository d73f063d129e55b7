// RUN: atoll-opt %s --passes "take-out-sums" | filecheck %s

// What is costly is not made ahead of a choice that may not take it, nor what is made of that. A choice in which
// nothing would be exchanged keeps its sums.

// CHECK-NOT:  reduce
// CHECK:      "stablehlo.case"(%arg0) ({
// CHECK:        [[PRODUCT:%.*]] = stablehlo.dot_general
// CHECK:        stablehlo.reduce([[PRODUCT]]
// CHECK:      "stablehlo.case"(%arg0) ({
// CHECK:        stablehlo.reduce(%arg2
module attributes {atoll.plan = "replicas=2, update=sharded", atoll.topology = "2 x cpu[1]"} {
  func.func @main(
      %p: tensor<i32> {atoll.path = "p"}, %m: tensor<4xf32> {atoll.path = "state['m']"},
      %x: tensor<4xf32> {atoll.path = "x"})
      -> (tensor<4xf32> {atoll.path = "result['m']"}, tensor<f32> {atoll.path = "result['s']"}) {
    %new = "stablehlo.case"(%p) ({
      stablehlo.return %m : tensor<4xf32>
    }, {
      %zero = stablehlo.constant dense<0.0> : tensor<f32>
      %0 = stablehlo.dot_general %m, %m, contracting_dims = [] x [] : (tensor<4xf32>, tensor<4xf32>) -> tensor<4x4xf32>
      %1 = stablehlo.reduce(%0 init: %zero) applies stablehlo.add across dimensions = [0, 1]
          : (tensor<4x4xf32>, tensor<f32>) -> tensor<f32>
      %all = stablehlo.broadcast_in_dim %1, dims = [] : (tensor<f32>) -> tensor<4xf32>
      %scaled = stablehlo.divide %m, %all : tensor<4xf32>
      stablehlo.return %scaled : tensor<4xf32>
    }) : (tensor<i32>) -> tensor<4xf32>
    %given = stablehlo.constant dense<0.0> : tensor<f32>
    %sum = "stablehlo.case"(%p) ({
      stablehlo.return %given : tensor<f32>
    }, {
      %0 = stablehlo.reduce(%x init: %given) applies stablehlo.add across dimensions = [0]
          : (tensor<4xf32>, tensor<f32>) -> tensor<f32>
      stablehlo.return %0 : tensor<f32>
    }) : (tensor<i32>) -> tensor<f32>
    return %new, %sum : tensor<4xf32>, tensor<f32>
  }
}
