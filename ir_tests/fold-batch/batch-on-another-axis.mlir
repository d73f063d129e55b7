// RUN: atoll-opt %s --passes "fold-batch" | filecheck %s

// An argument says along which dimension it has the batch, and microbatches take their parts of that one.

// CHECK: @main(%arg0: tensor<3x2xf32> {atoll.batch = 1 : i32, atoll.parts = 4 : i32, atoll.path = "x"})
// CHECK-SAME: tensor<3x2xf32> {atoll.parts = 4 : i32, atoll.parts_dimension = 1 : i32, atoll.path = "copy"}
// CHECK: stablehlo.reduce(%arg0
// CHECK: return %0, %arg0
module attributes {atoll.plan = "microbatches=4"} {
  func.func @main(%x: tensor<3x8xf32> {atoll.path = "x", atoll.batch = 1 : i32})
      -> (tensor<f32> {atoll.path = "sum"}, tensor<3x8xf32> {atoll.path = "copy"}) {
    %zero = stablehlo.constant dense<0.0> : tensor<f32>
    %sum = stablehlo.reduce(%x init: %zero) applies stablehlo.add across dimensions = [0, 1]
        : (tensor<3x8xf32>, tensor<f32>) -> tensor<f32>
    return %sum, %x : tensor<f32>, tensor<3x8xf32>
  }
}
