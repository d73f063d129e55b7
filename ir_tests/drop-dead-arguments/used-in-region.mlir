// RUN: atoll-opt %s --passes "drop-dead-arguments" | filecheck %s

// A use in a region is a use.

// CHECK: @main(%arg0: tensor<i32>, %arg1: tensor<f32>)
// CHECK: stablehlo.return %arg1
func.func @main(%index: tensor<i32>, %unused: tensor<f32>, %x: tensor<f32>) -> tensor<f32> {
  %y = "stablehlo.case"(%index) ({
    stablehlo.return %x : tensor<f32>
  }) : (tensor<i32>) -> tensor<f32>
  return %y : tensor<f32>
}
