// RUN: atoll-opt %s --passes "spread-stages" | filecheck %s

// A sum over microbatches is added up where its terms are made, and crosses once, after the loop, to where it is used.

// CHECK: atoll.notes = {{.*}} bytes = 128 : i64, kind = "traffic"
// CHECK: mpmd.for
// CHECK: dot_general {{.*}} {atoll.stage = 0 : i32}
// CHECK: add {{.*}} {atoll.stage = 0 : i32}
// CHECK: subtract {{.*}} {atoll.stage = 1 : i32}
module attributes {atoll.stages = 2 : i32} {
  func.func @main(
      %w: tensor<4x4xf32> {atoll.path = "w", atoll.donated},
      %x: tensor<4x4xf32> {atoll.path = "x"})
      -> (tensor<4x4xf32> {atoll.path = "result"}) {
    %zero = stablehlo.constant dense<0.0> : tensor<4x4xf32>
    %0 = mpmd.for (%zero) {iterations = 2 : ui32} (%sum: tensor<4x4xf32>, %index: tensor<ui32>) {
      %1 = stablehlo.dot_general %x, %x, contracting_dims = [0] x [0] {atoll.stage = 0 : i32}
          : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
      %2 = stablehlo.add %sum, %1 : tensor<4x4xf32>
      mpmd.return %2 : tensor<4x4xf32>
    } : tensor<4x4xf32>
    %3 = stablehlo.cosine %w {atoll.stage = 1 : i32} : tensor<4x4xf32>
    %4 = stablehlo.cosine %x {atoll.stage = 1 : i32} : tensor<4x4xf32>
    %5 = stablehlo.multiply %3, %4 {atoll.stage = 1 : i32} : tensor<4x4xf32>
    %6 = stablehlo.subtract %5, %0 : tensor<4x4xf32>
    return %6 : tensor<4x4xf32>
  }
}
