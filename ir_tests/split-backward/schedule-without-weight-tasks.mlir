// RUN: atoll-opt %s --passes "split-backward" | filecheck %s

// 1f1b has no weight tasks.

// CHECK: mpmd.for {{.*}}atoll.role = "FB"
// CHECK: abs {{.*}} {atoll.stage = 1 : i32, atoll.sweep = 1 : i32}
module attributes {atoll.plan = "stages=2, microbatches=4, schedule=1f1b", atoll.stages = 2 : i32,
    atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: tensor<4xf32> {atoll.parts = 4 : i32}) -> (tensor<4xf32>, tensor<4xf32>) {
    %zero = stablehlo.constant dense<0.0> : tensor<4xf32>
    %0:2 = mpmd.for (%zero, %zero) {atoll.role = "FB", iterations = 4 : ui32}
        (%a: tensor<4xf32>, %b: tensor<4xf32>, %i: tensor<ui32>) {
      %c = stablehlo.cosine %x {atoll.stage = 1 : i32, atoll.sweep = 1 : i32} : tensor<4xf32>
      %w = stablehlo.abs %c {atoll.stage = 1 : i32, atoll.sweep = 1 : i32} : tensor<4xf32>
      %1 = stablehlo.add %a, %w {atoll.stage = 1 : i32, atoll.sweep = 1 : i32} : tensor<4xf32>
      %2 = stablehlo.add %b, %c {atoll.stage = 0 : i32, atoll.sweep = 1 : i32} : tensor<4xf32>
      mpmd.return %1, %2 : tensor<4xf32>, tensor<4xf32>
    } : tensor<4xf32>, tensor<4xf32>
    return %0#0, %0#1 : tensor<4xf32>, tensor<4xf32>
  }
}
