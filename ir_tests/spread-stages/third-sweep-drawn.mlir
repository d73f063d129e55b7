// RUN: atoll-opt %s --passes "spread-stages,order-sweeps" | filecheck %s

// What begins the gradient takes nothing of the last stage's, only the labels, which the first stage has. The fewest
// bytes would cross if stage 0 made it, but stage 1 would wait for that, and its gradient would come in a third sweep.
// So stage 1 makes it.

// CHECK: atoll.notes = [{at_least = 536 : i64, bytes = 776 : i64, kind = "traffic"
// CHECK: mpmd.for {{.*}}atoll.role = "FB"
// CHECK-NEXT: tanh {{.*}} {atoll.stage = 0 : i32, atoll.sweep = 0 : i32}
// CHECK-NEXT: sine {{.*}} {atoll.stage = 1 : i32, atoll.sweep = 0 : i32}
// CHECK-NEXT: slice {{.*}} {atoll.stage = 1 : i32, atoll.sweep = 1 : i32}
// CHECK-NEXT: cosine {{.*}} {atoll.stage = 1 : i32, atoll.sweep = 1 : i32}
// CHECK-NEXT: multiply {{.*}} {atoll.stage = 1 : i32, atoll.sweep = 1 : i32}
// CHECK-NEXT: slice {{.*}} {atoll.stage = 1 : i32, atoll.sweep = 1 : i32}
// CHECK-NEXT: negate {{.*}} {atoll.stage = 0 : i32, atoll.sweep = 1 : i32}
module attributes {atoll.plan = "stages=2, microbatches=2", atoll.stages = 2 : i32} {
  func.func @main(%labels: tensor<64xf32>) -> tensor<1xf32> {
    %c = stablehlo.constant dense<0.0> : tensor<1xf32>
    %0 = mpmd.for (%c) {iterations = 2 : ui32} (%sum: tensor<1xf32>, %index: tensor<ui32>) {
      %h = stablehlo.tanh %labels {atoll.stage = 0 : i32} : tensor<64xf32> loc("jit(f)/jvp()/tanh")
      %y = stablehlo.sine %h {atoll.stage = 1 : i32} : tensor<64xf32> loc("jit(f)/jvp()/sin")
      %a = stablehlo.slice %labels [0:2] : (tensor<64xf32>) -> tensor<2xf32> loc("jit(f)/transpose(jvp())/slice")
      %b = stablehlo.cosine %a : tensor<2xf32> loc("jit(f)/transpose(jvp())/cos")
      %d = stablehlo.multiply %b, %b {atoll.stage = 1 : i32} : tensor<2xf32> loc("jit(f)/transpose(jvp())/mul")
      %s = stablehlo.slice %d [0:1] : (tensor<2xf32>) -> tensor<1xf32> loc("jit(f)/transpose(jvp())/slice")
      %n = stablehlo.negate %s {atoll.stage = 0 : i32} : tensor<1xf32> loc("jit(f)/transpose(jvp())/neg")
      %next = stablehlo.add %sum, %n : tensor<1xf32>
      mpmd.return %next : tensor<1xf32>
    } : tensor<1xf32>
    return %0 : tensor<1xf32>
  }
}
