// RUN: atoll-opt %s --passes "split-backward" | filecheck %s

// Stage 1 sends %d on: what makes it stays, and what only its own sum needs runs later. Stage 0 sends nothing, and
// stays whole.

// CHECK:      mpmd.for {{.*}}atoll.role = "FBW"
// CHECK:      sine {{.*}} {atoll.stage = 1 : i32, atoll.sweep = 0 : i32}
// CHECK-NEXT: cosine {{.*}} {atoll.stage = 1 : i32, atoll.sweep = 1 : i32}
// CHECK-NEXT: negate {{.*}} {atoll.stage = 1 : i32, atoll.sweep = 1 : i32}
// CHECK-NEXT: abs {{.*}} {atoll.stage = 1 : i32, atoll.sweep = 2 : i32}
// CHECK-NEXT: add {{.*}} {atoll.stage = 1 : i32, atoll.sweep = 2 : i32}
// CHECK-NEXT: add {{.*}} {atoll.stage = 0 : i32, atoll.sweep = 1 : i32}
module attributes {atoll.plan = "stages=2, microbatches=4, schedule=zb-h1", atoll.stages = 2 : i32,
    atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: tensor<4xf32> {atoll.parts = 4 : i32}) -> (tensor<4xf32>, tensor<4xf32>) {
    %zero = stablehlo.constant dense<0.0> : tensor<4xf32>
    %0:2 = mpmd.for (%zero, %zero) {atoll.role = "FB", iterations = 4 : ui32}
        (%a: tensor<4xf32>, %b: tensor<4xf32>, %i: tensor<ui32>) {
      %y = stablehlo.sine %x {atoll.stage = 1 : i32, atoll.sweep = 0 : i32} : tensor<4xf32>
      %c = stablehlo.cosine %y {atoll.stage = 1 : i32, atoll.sweep = 1 : i32} : tensor<4xf32>
      %d = stablehlo.negate %c {atoll.stage = 1 : i32, atoll.sweep = 1 : i32} : tensor<4xf32>
      %w = stablehlo.abs %c {atoll.stage = 1 : i32, atoll.sweep = 1 : i32} : tensor<4xf32>
      %1 = stablehlo.add %a, %w {atoll.stage = 1 : i32, atoll.sweep = 1 : i32} : tensor<4xf32>
      %2 = stablehlo.add %b, %d {atoll.stage = 0 : i32, atoll.sweep = 1 : i32} : tensor<4xf32>
      mpmd.return %1, %2 : tensor<4xf32>, tensor<4xf32>
    } : tensor<4xf32>, tensor<4xf32>
    return %0#0, %0#1 : tensor<4xf32>, tensor<4xf32>
  }
}
