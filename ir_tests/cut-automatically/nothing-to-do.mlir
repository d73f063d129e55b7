// RUN: atoll-opt %s --passes "cut-automatically" | filecheck %s

// A plan that gives the stages as a text is not cut.

// CHECK: negate %arg0 : tensor<4xf32>
module attributes {atoll.plan = "stages=\"a | b\"", atoll.stages = 2 : i32} {
  func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
    %0 = stablehlo.negate %x : tensor<4xf32>
    return %0 : tensor<4xf32>
  }
}
