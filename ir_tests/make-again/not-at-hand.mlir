// RUN: atoll-opt %s --passes "make-again" | filecheck %s

// To make the quotient again, the way back would have to take what it was divided by; and what leaves @main is there
// in any case.

// CHECK:      divide
// CHECK-NOT:  divide
// CHECK:      minimum
// CHECK-NOT:  minimum
module attributes {atoll.stages = 1 : i32} {
  func.func @main(%x: tensor<4xf32>, %y: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>) {
    %a = stablehlo.sine %x {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<4xf32>
    %b = stablehlo.cosine %y {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<4xf32>
    %q = stablehlo.divide %a, %b {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<4xf32>
    %d = stablehlo.minimum %x, %q {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<4xf32>
    %0 = stablehlo.multiply %q, %a {atoll.stage = 0 : i32, atoll.sweep = 1 : i32} : tensor<4xf32>
    %1 = stablehlo.multiply %0, %d {atoll.stage = 0 : i32, atoll.sweep = 1 : i32} : tensor<4xf32>
    %2 = stablehlo.multiply %1, %x {atoll.stage = 0 : i32, atoll.sweep = 1 : i32} : tensor<4xf32>
    return %2, %d : tensor<4xf32>, tensor<4xf32>
  }
}
