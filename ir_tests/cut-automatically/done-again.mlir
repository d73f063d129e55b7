// RUN: atoll-opt %s --passes "cut-automatically" | filecheck %s

// The second loop does again what the first did not keep, the product of %h with itself. That takes no parameter, and
// still is on the stage where it was done first, where %h is.

// CHECK:      mpmd.for
// CHECK-NEXT:   dot_general %arg0, %arg1{{.*}} {atoll.stage = 0 : i32}
// CHECK-NEXT:   dot_general {{.*}} contracting_dims = [1] x [1]{{.*}} {atoll.stage = 0 : i32}
// CHECK-NEXT:   dot_general {{.*}}, %arg2{{.*}} {atoll.stage = 1 : i32}
// CHECK:      mpmd.for
// CHECK-NEXT:   dot_general {{.*}} contracting_dims = [1] x [1]{{.*}} {atoll.stage = 0 : i32}
// CHECK-NEXT:   dot_general {{.*}} contracting_dims = [1] x [0]{{.*}} {atoll.stage = 1 : i32}
module attributes {atoll.plan = "stages=2, microbatches=2", atoll.stages = 2 : i32, atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: tensor<2x8xf32> {atoll.path = "x", atoll.batch, atoll.parts = 2 : i32},
      %a: tensor<8x8xf32> {atoll.path = "a"}, %b: tensor<2x8xf32> {atoll.path = "b"},
      %c: tensor<8x8xf32> {atoll.path = "c"})
      -> (tensor<2x8xf32> {atoll.path = "y"}) {
    %zero = stablehlo.constant dense<0.0> : tensor<2x8xf32>
    %none = stablehlo.constant dense<0.0> : tensor<2x8xf32>
    %0:2 = mpmd.for (%zero, %none) {atoll.parts = array<i64: 1>, iterations = 2 : ui32}
        (%s: tensor<2x8xf32>, %kept: tensor<2x8xf32>, %i: tensor<ui32>) {
      %h = stablehlo.dot_general %x, %a, contracting_dims = [1] x [0] : (tensor<2x8xf32>, tensor<8x8xf32>)
          -> tensor<2x8xf32>
      %g = stablehlo.dot_general %h, %h, contracting_dims = [1] x [1] : (tensor<2x8xf32>, tensor<2x8xf32>)
          -> tensor<2x2xf32>
      %y = stablehlo.dot_general %g, %b, contracting_dims = [1] x [0] : (tensor<2x2xf32>, tensor<2x8xf32>)
          -> tensor<2x8xf32>
      %z = stablehlo.dot_general %y, %c, contracting_dims = [1] x [0] : (tensor<2x8xf32>, tensor<8x8xf32>)
          -> tensor<2x8xf32>
      %sum = stablehlo.add %s, %z : tensor<2x8xf32>
      mpmd.return %sum, %h : tensor<2x8xf32>, tensor<2x8xf32>
    } : tensor<2x8xf32>, tensor<2x8xf32>
    %1 = mpmd.for (%zero) {iterations = 2 : ui32} (%s: tensor<2x8xf32>, %i: tensor<ui32>) {
      %g = stablehlo.dot_general %0#1, %0#1, contracting_dims = [1] x [1] : (tensor<2x8xf32>, tensor<2x8xf32>)
          -> tensor<2x2xf32>
      %y = stablehlo.dot_general %g, %0#0, contracting_dims = [1] x [0] : (tensor<2x2xf32>, tensor<2x8xf32>)
          -> tensor<2x8xf32>
      %sum = stablehlo.add %s, %y : tensor<2x8xf32>
      mpmd.return %sum : tensor<2x8xf32>
    } : tensor<2x8xf32>
    return %1 : tensor<2x8xf32>
  }
}
