// RUN: atoll-opt %s --passes "spread-stages,order-sweeps" | filecheck %s

// Wherever the first two numbers are added, two numbers cross. On stage 0 that would have to wait until the backward
// sweep comes there, and the last stage would wait for it in turn; so stage 1, which has the second number, adds them.

// CHECK: mpmd.for {{.*}}atoll.role = "FB"
// CHECK-NEXT: tanh {{.*}} {atoll.stage = 0 : i32, atoll.sweep = 0 : i32}
// CHECK-NEXT: sine {{.*}} {atoll.stage = 1 : i32, atoll.sweep = 0 : i32}
// CHECK-NEXT: cosine {{.*}} {atoll.stage = 2 : i32, atoll.sweep = 0 : i32}
// CHECK-NEXT: add {{.*}} {atoll.stage = 1 : i32, atoll.sweep = 0 : i32}
// CHECK-NEXT: add {{.*}} {atoll.stage = 2 : i32, atoll.sweep = 0 : i32}
// CHECK-NEXT: negate {{.*}} {atoll.stage = 2 : i32, atoll.sweep = 1 : i32}
module attributes {atoll.plan = "stages=3, microbatches=2", atoll.stages = 3 : i32} {
  func.func @main(%x: tensor<4xf32>, %y: tensor<4xf32>, %z: tensor<4xf32>) -> tensor<4xf32> {
    %c = stablehlo.constant dense<0.0> : tensor<4xf32>
    %0 = mpmd.for (%c) {iterations = 2 : ui32} (%sum: tensor<4xf32>, %index: tensor<ui32>) {
      %a = stablehlo.tanh %x {atoll.stage = 0 : i32} : tensor<4xf32> loc("jit(f)/jvp()/tanh")
      %b = stablehlo.sine %y {atoll.stage = 1 : i32} : tensor<4xf32> loc("jit(f)/jvp()/sin")
      %d = stablehlo.cosine %z {atoll.stage = 2 : i32} : tensor<4xf32> loc("jit(f)/jvp()/cos")
      %e = stablehlo.add %a, %b : tensor<4xf32> loc("jit(f)/jvp()/add")
      %f = stablehlo.add %e, %d {atoll.stage = 2 : i32} : tensor<4xf32> loc("jit(f)/jvp()/add")
      %n = stablehlo.negate %f {atoll.stage = 2 : i32} : tensor<4xf32> loc("jit(f)/transpose(jvp())/neg")
      %next = stablehlo.add %sum, %n : tensor<4xf32>
      mpmd.return %next : tensor<4xf32>
    } : tensor<4xf32>
    return %0 : tensor<4xf32>
  }
}
