// RUN: atoll-opt %s --passes "cut-automatically" | filecheck %s

// What the second loop does again is on the stage where it was done first, also where constants are complex numbers.

// CHECK:      mpmd.for
// CHECK-NEXT:   dot_general %arg0, %arg1{{.*}} {atoll.stage = 0 : i32}
// CHECK:        stablehlo.multiply {{.*}} {atoll.stage = 1 : i32}
// CHECK:        dot_general {{.*}}, %arg2{{.*}} {atoll.stage = 1 : i32}
// CHECK:      mpmd.for
// CHECK:        stablehlo.multiply {{.*}} {atoll.stage = 1 : i32}
// CHECK:        dot_general {{.*}}, %arg2{{.*}} {atoll.stage = 1 : i32}
!part = tensor<2x8xcomplex<f32>>
!square = tensor<8x8xcomplex<f32>>
module attributes {atoll.plan = "stages=2, microbatches=2", atoll.stages = 2 : i32, atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: !part {atoll.path = "x", atoll.batch, atoll.parts = 2 : i32}, %a: !square {atoll.path = "a"},
      %b: !square {atoll.path = "b"}) -> (!part {atoll.path = "y"}) {
    %zero = stablehlo.constant dense<(0.0, 0.0)> : !part
    %0:2 = mpmd.for (%zero, %zero) {atoll.parts = array<i64: 1>, iterations = 2 : ui32}
        (%s: !part, %kept: !part, %i: tensor<ui32>) {
      %h = stablehlo.dot_general %x, %a, contracting_dims = [1] x [0] : (!part, !square) -> !part
      %turn = stablehlo.constant dense<(0.0, 1.0)> : !part
      %g = stablehlo.multiply %h, %turn : !part
      %y = stablehlo.dot_general %g, %b, contracting_dims = [1] x [0] : (!part, !square) -> !part
      %sum = stablehlo.add %s, %y : !part
      mpmd.return %sum, %h : !part, !part
    } : !part, !part
    %1 = mpmd.for (%zero) {iterations = 2 : ui32} (%s: !part, %i: tensor<ui32>) {
      %turn = stablehlo.constant dense<(0.0, 1.0)> : !part
      %g = stablehlo.multiply %0#1, %turn : !part
      %h = stablehlo.add %g, %0#0 : !part
      %y = stablehlo.dot_general %h, %b, contracting_dims = [1] x [0] : (!part, !square) -> !part
      %sum = stablehlo.add %s, %y : !part
      mpmd.return %sum : !part
    } : !part
    return %1 : !part
  }
}
