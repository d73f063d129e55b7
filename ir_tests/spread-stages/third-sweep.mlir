// RUN: atoll-opt %s --passes "spread-stages,order-sweeps" | filecheck %s

// The fewest bytes would cross if stage 1 joined the two and sent back what is left of them; but for that every
// microbatch would go over the stages twice more. So stage 0 joins them.

// CHECK: atoll.notes = [{at_least = 128 : i64, bytes = 576 : i64, kind = "traffic"
// CHECK: mpmd.for {{.*}}atoll.role = "FB"
// CHECK-NEXT: tanh {{.*}} {atoll.stage = 0 : i32, atoll.sweep = 0 : i32}
// CHECK-NEXT: sine {{.*}} {atoll.stage = 1 : i32, atoll.sweep = 0 : i32}
// CHECK-NEXT: cosine {{.*}} {atoll.stage = 1 : i32, atoll.sweep = 1 : i32}
// CHECK-NEXT: tan {{.*}} {atoll.stage = 0 : i32, atoll.sweep = 1 : i32}
// CHECK-NEXT: concatenate {{.*}} {atoll.stage = 0 : i32, atoll.sweep = 1 : i32}
// CHECK-NEXT: slice {{.*}} {atoll.stage = 0 : i32, atoll.sweep = 1 : i32}
module attributes {atoll.plan = "stages=2, microbatches=2", atoll.stages = 2 : i32} {
  func.func @main(%x: tensor<4xf32>, %w: tensor<64xf32>) -> tensor<4xf32> {
    %c = stablehlo.constant dense<0.0> : tensor<4xf32>
    %0 = mpmd.for (%c) {iterations = 2 : ui32} (%sum: tensor<4xf32>, %index: tensor<ui32>) {
      %h = stablehlo.tanh %x {atoll.stage = 0 : i32} : tensor<4xf32> loc("jit(f)/jvp()/tanh")
      %y = stablehlo.sine %h {atoll.stage = 1 : i32} : tensor<4xf32> loc("jit(f)/jvp()/sin")
      %b = stablehlo.cosine %w {atoll.stage = 1 : i32} : tensor<64xf32> loc("jit(f)/transpose(jvp())/cos")
      %d = stablehlo.tan %y {atoll.stage = 0 : i32} : tensor<4xf32> loc("jit(f)/transpose(jvp())/tan")
      %e = stablehlo.concatenate %b, %d, dim = 0 : (tensor<64xf32>, tensor<4xf32>) -> tensor<68xf32>
          loc("jit(f)/transpose(jvp())/concatenate")
      %s = stablehlo.slice %e [62:66] : (tensor<68xf32>) -> tensor<4xf32> loc("jit(f)/transpose(jvp())/slice")
      %n = stablehlo.negate %s {atoll.stage = 0 : i32} : tensor<4xf32> loc("jit(f)/transpose(jvp())/neg")
      %next = stablehlo.add %sum, %n : tensor<4xf32>
      mpmd.return %next : tensor<4xf32>
    } : tensor<4xf32>
    return %0 : tensor<4xf32>
  }
}
