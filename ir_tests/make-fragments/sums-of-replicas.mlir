// RUN: atoll-opt %s --passes "make-fragments" | filecheck %s

// Each of two replicas adds up its own microbatches. What is used after the loop is exchanged, and sent on from there;
// what nobody uses is not exchanged, and of maxima the maximum is taken.

// CHECK-LABEL: func.func @main
// CHECK:       [[LOOP:%.*]]:3 = mpmd.for
// CHECK:       [[SUM:%.*]] = mpmd.transfer {atoll.exchange = "add"} [[LOOP]]#0
// CHECK-SAME:      : (!mpmd.mesh_tensor<"island1", tensor<f32>>) -> !mpmd.mesh_tensor<"island1", tensor<f32>>
// CHECK-NEXT:  [[SENT:%.*]] = mpmd.transfer [[SUM]] : {{.*}} -> !mpmd.mesh_tensor<"island0", tensor<f32>>
// CHECK-NEXT:  [[MOST:%.*]] = mpmd.transfer {atoll.exchange = "max"} [[LOOP]]#1
// CHECK-NOT:   atoll.exchange
// CHECK:       mpmd.fragment<mesh="island0", origin=["U0"]> ([[SENT]])
// CHECK:       return {{%.*}}, [[MOST]]
module attributes {atoll.plan = "replicas=2, microbatches=2", atoll.stages = 2 : i32, atoll.topology = "4 x cpu[1]"} {
  func.func @main(%x: tensor<4xf32> {atoll.path = "x", atoll.batch, atoll.parts = 4 : i32})
      -> (tensor<f32>, tensor<f32>) {
    %zero = stablehlo.constant {atoll.stage = 1 : i32, atoll.sweep = 0 : i32} dense<0.0> : tensor<f32>
    %0:3 = mpmd.for (%zero, %zero, %zero) {atoll.role = "F", iterations = 4 : ui32}
        (%s: tensor<f32>, %m: tensor<f32>, %u: tensor<f32>, %i: tensor<ui32>) {
      %none = stablehlo.constant {atoll.stage = 1 : i32, atoll.sweep = 0 : i32} dense<0.0> : tensor<f32>
      %1 = stablehlo.negate %x {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<4xf32>
      %2 = stablehlo.reduce(%1 init: %none) applies stablehlo.add across dimensions = [0]
          {atoll.stage = 1 : i32, atoll.sweep = 0 : i32} : (tensor<4xf32>, tensor<f32>) -> tensor<f32>
      %3 = stablehlo.add %s, %2 {atoll.stage = 1 : i32, atoll.sweep = 0 : i32} : tensor<f32>
      %4 = stablehlo.maximum %m, %2 {atoll.stage = 1 : i32, atoll.sweep = 0 : i32} : tensor<f32>
      %5 = stablehlo.minimum %u, %2 {atoll.stage = 1 : i32, atoll.sweep = 0 : i32} : tensor<f32>
      mpmd.return %3, %4, %5 : tensor<f32>, tensor<f32>, tensor<f32>
    } : tensor<f32>, tensor<f32>, tensor<f32>
    %6 = stablehlo.negate %0#0 {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<f32>
    return %6, %0#1 : tensor<f32>, tensor<f32>
  }
}
