// RUN: atoll-opt %s --passes "fold-batch" | filecheck %s

// Replicas divide the batch as microbatches do: the loop is over those of all replicas.

// CHECK: %arg0: tensor<2xf32> {atoll.batch, atoll.parts = 4 : i32, atoll.path = "x"}
// CHECK: mpmd.for {{.*}} {iterations = 4 : ui32}
module attributes {atoll.plan = "replicas=2, microbatches=2"} {
  func.func @main(%x: tensor<8xf32> {atoll.path = "x", atoll.batch}) -> (tensor<f32> {atoll.path = "sum"}) {
    %zero = stablehlo.constant dense<0.0> : tensor<f32>
    %sum = stablehlo.reduce(%x init: %zero) applies stablehlo.add across dimensions = [0]
        : (tensor<8xf32>, tensor<f32>) -> tensor<f32>
    return %sum : tensor<f32>
  }
}
