// RUN: atoll-opt %s --passes "make-fragments" | filecheck %s

// Each island that computes with the number of the microbatch has it, without anything being sent.

// CHECK:      mpmd.for {{.*}} %index: tensor<ui32>) {
// CHECK-NEXT:   [[NUMBER:%.*]] = mpmd.assign %index : (tensor<ui32>) -> !mpmd.mesh_tensor<"island1", tensor<ui32>>
// CHECK-NEXT:   mpmd.call @microbatch({{%.*}}, {{%.*}}, [[NUMBER]])
// CHECK:      func.func private @microbatch({{.*}} %arg2: !mpmd.mesh_tensor<"island1", tensor<ui32>>) ->
// CHECK:      mpmd.fragment<mesh="island1", origin=["F1"]> (%arg2,
module attributes {atoll.plan = "microbatches=2", atoll.stages = 2 : i32, atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: tensor<f32> {atoll.path = "x", atoll.batch, atoll.parts = 2 : i32})
      -> (tensor<f32> {atoll.path = "sum"}) {
    %zero = stablehlo.constant {atoll.stage = 1 : i32, atoll.sweep = 0 : i32} dense<0.0> : tensor<f32>
    %0 = mpmd.for (%zero) {atoll.role = "F", iterations = 2 : ui32} (%s: tensor<f32>, %i: tensor<ui32>) {
      %1 = stablehlo.negate %x {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<f32>
      %2 = stablehlo.convert %i {atoll.stage = 1 : i32, atoll.sweep = 0 : i32} : (tensor<ui32>) -> tensor<f32>
      %3 = stablehlo.multiply %1, %2 {atoll.stage = 1 : i32, atoll.sweep = 0 : i32} : tensor<f32>
      %4 = stablehlo.add %s, %3 {atoll.stage = 1 : i32, atoll.sweep = 0 : i32} : tensor<f32>
      mpmd.return %4 : tensor<f32>
    } : tensor<f32>
    return %0 : tensor<f32>
  }
}
