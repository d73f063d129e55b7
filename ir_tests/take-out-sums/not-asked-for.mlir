// RUN: atoll-opt %s --passes "take-out-sums" | filecheck %s

// Where each replica makes the whole update, a branch keeps what it sums up.

// CHECK:      "stablehlo.case"(%arg0) ({
// CHECK:        stablehlo.multiply %arg1, %arg1
// CHECK:        stablehlo.reduce(
module attributes {atoll.plan = "replicas=2", atoll.topology = "2 x cpu[1]"} {
  func.func @main(
      %p: tensor<i32> {atoll.path = "p"}, %m: tensor<4xf32> {atoll.path = "state['m']"})
      -> (tensor<4xf32> {atoll.path = "result['m']"}) {
    %new = "stablehlo.case"(%p) ({
      stablehlo.return %m : tensor<4xf32>
    }, {
      %zero = stablehlo.constant dense<0.0> : tensor<f32>
      %squares = stablehlo.multiply %m, %m : tensor<4xf32>
      %norm = stablehlo.reduce(%squares init: %zero) applies stablehlo.add across dimensions = [0]
          : (tensor<4xf32>, tensor<f32>) -> tensor<f32>
      %all = stablehlo.broadcast_in_dim %norm, dims = [] : (tensor<f32>) -> tensor<4xf32>
      %scaled = stablehlo.divide %m, %all : tensor<4xf32>
      stablehlo.return %scaled : tensor<4xf32>
    }) : (tensor<i32>) -> tensor<4xf32>
    return %new : tensor<4xf32>
  }
}
