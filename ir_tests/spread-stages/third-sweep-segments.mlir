// RUN: atoll-opt %s --passes "spread-stages,order-sweeps" | filecheck %s

// The gradient of the first segment's activations is needed for that of the second's, as where each layer's are
// returned. The second one has gone back by then; so that no third sweep is needed, the first segment does that too.

// CHECK: mpmd.for {{.*}}atoll.role = "FB"
// CHECK-NEXT: sine {{.*}} {atoll.stage = 0 : i32, atoll.sweep = 0 : i32}
// CHECK-NEXT: cosine {{.*}} {atoll.stage = 1 : i32, atoll.sweep = 0 : i32}
// CHECK-NEXT: multiply {{.*}} {atoll.stage = 0 : i32, atoll.sweep = 1 : i32}
// CHECK-NEXT: slice {{.*}} {atoll.stage = 0 : i32, atoll.sweep = 1 : i32}
// CHECK-NEXT: pad {{.*}} {atoll.stage = 0 : i32, atoll.sweep = 1 : i32}
// CHECK-NEXT: subtract {{.*}} {atoll.stage = 0 : i32, atoll.sweep = 1 : i32}
module attributes {atoll.plan = "stages=1, segments=2, microbatches=2", atoll.stages = 2 : i32} {
  func.func @main(%x: tensor<64xf32>) -> tensor<64xf32> {
    %c = stablehlo.constant dense<0.0> : tensor<64xf32>
    %z = stablehlo.constant dense<0.0> : tensor<f32>
    %0 = mpmd.for (%c) {iterations = 2 : ui32} (%sum: tensor<64xf32>, %index: tensor<ui32>) {
      %h = stablehlo.sine %x {atoll.stage = 0 : i32} : tensor<64xf32> loc("jit(f)/jvp()/sin")
      %y = stablehlo.cosine %h {atoll.stage = 1 : i32} : tensor<64xf32> loc("jit(f)/jvp()/cos")
      %b = stablehlo.multiply %x, %h {atoll.planned_stage = 0 : i32} : tensor<64xf32> loc("jit(f)/transpose(jvp())/mul")
      %s = stablehlo.slice %b [0:1] {atoll.planned_stage = 0 : i32} : (tensor<64xf32>) -> tensor<1xf32>
          loc("jit(f)/transpose(jvp())/slice")
      %p = stablehlo.pad %s, %z, low = [0], high = [63], interior = [0] {atoll.planned_stage = 0 : i32}
          : (tensor<1xf32>, tensor<f32>) -> tensor<64xf32> loc("jit(f)/transpose(jvp())/pad")
      %d = stablehlo.subtract %y, %p {atoll.planned_stage = 0 : i32} : tensor<64xf32> loc("jit(f)/transpose(jvp())/sub")
      %next = stablehlo.add %sum, %d : tensor<64xf32>
      mpmd.return %next : tensor<64xf32>
    } : tensor<64xf32>
    return %0 : tensor<64xf32>
  }
}
