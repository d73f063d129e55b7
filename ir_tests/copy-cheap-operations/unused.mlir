// RUN: atoll-opt %s --passes "copy-cheap-operations" | filecheck %s

// What no fragment uses is dropped.

// CHECK-NOT: constant
module attributes {atoll.stages = 1 : i32} {
  func.func @main() {
    %c = stablehlo.constant dense<1.0> : tensor<4xf32>
    %0 = stablehlo.negate %c : tensor<4xf32>
    return
  }
}
