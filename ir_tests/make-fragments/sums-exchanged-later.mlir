// RUN: atoll-opt %s --passes "make-fragments, verify-placed" | filecheck %s

// What is only added to another sum is sent as it is, and what they come to is exchanged.

// CHECK-LABEL: func.func @main
// CHECK:       [[LOOP:%.*]]:2 = mpmd.for
// CHECK-NOT:   atoll.exchange
// CHECK:       [[SENT:%.*]] = mpmd.transfer [[LOOP]]#1 : {{.*}} -> !mpmd.mesh_tensor<"island0", tensor<f32>>
// CHECK:       [[OWN:%.*]] = mpmd.fragment<mesh="island0", origin=["U0"]> ({{.*}}[[SENT]]
// CHECK:       [[ALL:%.*]] = mpmd.transfer {atoll.exchange = "add"} [[OWN]]
// CHECK-NOT:   atoll.exchange
// CHECK:       return [[ALL]]
module attributes {atoll.plan = "replicas=2, microbatches=2", atoll.stages = 2 : i32, atoll.topology = "4 x cpu[1]",
                   atoll.phase = "staged"} {
  func.func @main(%x: tensor<f32> {atoll.path = "x", atoll.batch, atoll.parts = 4 : i32}) -> tensor<f32> {
    %zero = stablehlo.constant {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} dense<0.0> : tensor<f32>
    %none = stablehlo.constant {atoll.stage = 1 : i32, atoll.sweep = 0 : i32} dense<0.0> : tensor<f32>
    %0:2 = mpmd.for (%zero, %none) {atoll.role = "F", iterations = 4 : ui32}
        (%a: tensor<f32>, %b: tensor<f32>, %i: tensor<ui32>) {
      %1 = stablehlo.add %a, %x {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<f32>
      %2 = stablehlo.add %b, %x {atoll.stage = 1 : i32, atoll.sweep = 0 : i32} : tensor<f32>
      mpmd.return %1, %2 : tensor<f32>, tensor<f32>
    } : tensor<f32>, tensor<f32>
    %3 = stablehlo.add %0#0, %0#1 {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<f32>
    %4 = stablehlo.custom_call @atoll.exchange(%3)
        {atoll.exchange = "add", atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : (tensor<f32>) -> tensor<f32>
    return %4 : tensor<f32>
  }
}
