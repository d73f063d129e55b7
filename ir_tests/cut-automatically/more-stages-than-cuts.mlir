// RUN: atoll-opt %s --passes "cut-automatically" | filecheck %s

// A program of two operations fills two of nine stages; the others stay empty.

// CHECK:      negate %arg0 {atoll.stage = 0 : i32}
// CHECK-NEXT: cosine %0 {atoll.stage = 1 : i32}
module attributes {atoll.plan = "stages=9", atoll.stages = 9 : i32} {
  func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
    %0 = stablehlo.negate %x : tensor<4xf32>
    %1 = stablehlo.cosine %0 : tensor<4xf32>
    return %1 : tensor<4xf32>
  }
}
