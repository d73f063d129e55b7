// RUN: atoll-opt %s --passes "seed-stages" | filecheck %s

// Without scopes, the parameters that operations use tell the stage; a range counts the elements of a list.

// CHECK:      atoll.stages = 2
// CHECK:      add %arg0, %arg1 {atoll.stage = 0 : i32}
// CHECK-NEXT: add %0, %arg2 {atoll.stage = 1 : i32}
// CHECK-NEXT: add %arg1, %arg2 : tensor<4xf32>
// CHECK-NEXT: add %1, %2 : tensor<4xf32>
module attributes {atoll.plan = "stages=\"layers[0..1] | layers[2..3]\""} {
  func.func @main(
      %x: tensor<4xf32> {atoll.path = "x"},
      %w0: tensor<4xf32> {atoll.path = "state['params'].layers[1].bias"},
      %w1: tensor<4xf32> {atoll.path = "state['params'].layers[2].bias"}) -> tensor<4xf32> {
    %0 = stablehlo.add %x, %w0 : tensor<4xf32>
    %1 = stablehlo.add %0, %w1 : tensor<4xf32>
    // This takes parameters of two stages, so they decide nothing.
    %2 = stablehlo.add %w0, %w1 : tensor<4xf32>
    %3 = stablehlo.add %1, %2 : tensor<4xf32>
    return %3 : tensor<4xf32>
  }
}
