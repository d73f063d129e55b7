// RUN: atoll-opt %s --passes "keep-less" | filecheck %s

// Another stage takes the first as well, the loop hands the second on, and the third reads what the loop hands on,
// which is another value later. A product is not cheap.

// CHECK:      cosine {{.*}} {atoll.stage = 0 : i32, atoll.sweep = 0 : i32}
// CHECK-NEXT: sine {{.*}} {atoll.stage = 0 : i32, atoll.sweep = 0 : i32}
// CHECK-NEXT: add {{.*}} {atoll.stage = 0 : i32, atoll.sweep = 0 : i32}
// CHECK-NEXT: dot_general {{.*}} {atoll.stage = 0 : i32, atoll.sweep = 0 : i32}
module attributes {atoll.plan = "stages=2, microbatches=4", atoll.stages = 2 : i32, atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: tensor<4xf32> {atoll.parts = 4 : i32}) -> (tensor<4xf32>, tensor<4xf32>, tensor<f32>) {
    %zero = stablehlo.constant dense<0.0> : tensor<4xf32>
    %none = stablehlo.constant dense<0.0> : tensor<f32>
    %0:3 = mpmd.for (%zero, %zero, %none) {atoll.role = "FB", iterations = 4 : ui32}
        (%a: tensor<4xf32>, %b: tensor<4xf32>, %c: tensor<f32>, %i: tensor<ui32>) {
      %y = stablehlo.tanh %x {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<4xf32>
      %p = stablehlo.cosine %y {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<4xf32>
      %q = stablehlo.sine %y {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<4xf32>
      %r = stablehlo.add %a, %y {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<4xf32>
      %d = stablehlo.dot_general %y, %y, contracting_dims = [0] x [0]
          {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : (tensor<4xf32>, tensor<4xf32>) -> tensor<f32>
      %1 = stablehlo.multiply %p, %p {atoll.stage = 1 : i32, atoll.sweep = 1 : i32} : tensor<4xf32>
      %2 = stablehlo.multiply %p, %q {atoll.stage = 0 : i32, atoll.sweep = 1 : i32} : tensor<4xf32>
      %6 = stablehlo.multiply %2, %y {atoll.stage = 0 : i32, atoll.sweep = 1 : i32} : tensor<4xf32>
      %3 = stablehlo.add %6, %r {atoll.stage = 0 : i32, atoll.sweep = 1 : i32} : tensor<4xf32>
      %4 = stablehlo.add %c, %d {atoll.stage = 0 : i32, atoll.sweep = 1 : i32} : tensor<f32>
      %5 = stablehlo.add %1, %3 {atoll.stage = 0 : i32, atoll.sweep = 1 : i32} : tensor<4xf32>
      mpmd.return %5, %q, %4 : tensor<4xf32>, tensor<4xf32>, tensor<f32>
    } : tensor<4xf32>, tensor<4xf32>, tensor<f32>
    return %0#0, %0#1, %0#2 : tensor<4xf32>, tensor<4xf32>, tensor<f32>
  }
}
