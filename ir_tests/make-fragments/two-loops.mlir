// RUN: atoll-opt %s --passes "make-fragments" | filecheck %s

// Loops that follow each other have functions of their own. What the first gives is sent once, between them; what the
// second takes of the batch is sent for each microbatch.

// CHECK:      [[FIRST:%.*]] = mpmd.for
// CHECK-NEXT:   mpmd.call @microbatch_0(
// CHECK:      [[SENT:%.*]] = mpmd.transfer [[FIRST]]
// CHECK:      mpmd.for
// CHECK-NEXT:   mpmd.call @microbatch({{%.*}}, %arg0, [[SENT]])
// CHECK:      func.func private @microbatch_0(
// CHECK-NOT:  mpmd.transfer
// CHECK:      func.func private @microbatch(
// CHECK-NEXT: mpmd.transfer %arg1 : (!mpmd.mesh_tensor<"island1", tensor<f32>>) -> !mpmd.mesh_tensor<"island0",
module attributes {atoll.plan = "microbatches=2", atoll.stages = 2 : i32, atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: tensor<f32> {atoll.path = "x", atoll.batch, atoll.parts = 2 : i32})
      -> (tensor<f32> {atoll.path = "sum"}) {
    %zero = stablehlo.constant {atoll.stage = 1 : i32, atoll.sweep = 0 : i32} dense<0.0> : tensor<f32>
    %0 = mpmd.for (%zero) {atoll.role = "F", iterations = 2 : ui32} (%s: tensor<f32>, %i: tensor<ui32>) {
      %1 = stablehlo.add %s, %x {atoll.stage = 1 : i32, atoll.sweep = 0 : i32} : tensor<f32>
      mpmd.return %1 : tensor<f32>
    } : tensor<f32>
    %nil = stablehlo.constant {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} dense<0.0> : tensor<f32>
    %2 = mpmd.for (%nil) {atoll.role = "F", iterations = 2 : ui32} (%s: tensor<f32>, %i: tensor<ui32>) {
      %3 = stablehlo.divide %x, %0 {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<f32>
      %4 = stablehlo.add %s, %3 {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<f32>
      mpmd.return %4 : tensor<f32>
    } : tensor<f32>
    return %2 : tensor<f32>
  }
}
