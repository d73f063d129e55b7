// RUN: atoll-opt %s --passes "make-fragments" | filecheck %s

// A sum of which a replica takes only its own share is exchanged as that share, combined as it is summed up; one that
// something needs whole is exchanged whole, and the share is cut from that. What a fragment makes is exchanged after
// it.

// CHECK-LABEL: func.func @main
// CHECK:       [[LOOP:%.*]]:2 = mpmd.for
// CHECK:       [[OWN:%.*]] = builtin.unrealized_conversion_cast [[LOOP]]#0
// CHECK-SAME:      : !mpmd.mesh_tensor<"island0", tensor<4xf32>> to !mpmd.mesh_tensor<"island0", tensor<2xf32>>
// CHECK-SAME:      {atoll.exchange = "add", atoll.share = 0 : i32}
// CHECK-NEXT:  [[ALL:%.*]] = mpmd.transfer {atoll.exchange = "max"} [[LOOP]]#1
// CHECK-NEXT:  [[CUT:%.*]] = builtin.unrealized_conversion_cast [[ALL]]
// CHECK-SAME:      {atoll.exchange = "share", atoll.share = 0 : i32}
// CHECK-NEXT:  [[U:%.*]]:2 = mpmd.fragment<mesh="island0", origin=["U0"]> ([[OWN]], [[CUT]])
// CHECK:       [[NORM:%.*]] = mpmd.transfer {atoll.exchange = "add"} [[U]]#1
// CHECK-NEXT:  mpmd.fragment<mesh="island0", origin=["U0.1"]> ([[NORM]], [[U]]#0)
// CHECK:       [[NEW:%.*]] = builtin.unrealized_conversion_cast
// CHECK-SAME:      : !mpmd.mesh_tensor<"island0", tensor<2xf32>> to !mpmd.mesh_tensor<"island0", tensor<4xf32>>
// CHECK-SAME:      {atoll.exchange = "gather", atoll.share = 0 : i32}
// CHECK-NEXT:  return [[NEW]], [[ALL]]
// CHECK-NOT:   custom_call
module attributes {atoll.plan = "replicas=2, microbatches=2, update=sharded", atoll.stages = 1 : i32,
    atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: tensor<4xf32> {atoll.path = "x", atoll.batch, atoll.parts = 4 : i32})
      -> (tensor<4xf32>, tensor<4xf32>) {
    %zero = stablehlo.constant {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} dense<0.0> : tensor<4xf32>
    %0:2 = mpmd.for (%zero, %zero) {atoll.role = "F", iterations = 4 : ui32}
        (%s: tensor<4xf32>, %m: tensor<4xf32>, %i: tensor<ui32>) {
      %1 = stablehlo.add %s, %x {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<4xf32>
      %2 = stablehlo.maximum %m, %x {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<4xf32>
      mpmd.return %1, %2 : tensor<4xf32>, tensor<4xf32>
    } : tensor<4xf32>, tensor<4xf32>
    %none = stablehlo.constant {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} dense<0.0> : tensor<f32>
    %3 = stablehlo.custom_call @atoll.exchange(%0#0)
        {atoll.exchange = "share", atoll.share = 0 : i32, atoll.stage = 0 : i32, atoll.sweep = 0 : i32}
        : (tensor<4xf32>) -> tensor<2xf32>
    %4 = stablehlo.custom_call @atoll.exchange(%0#1)
        {atoll.exchange = "share", atoll.share = 0 : i32, atoll.stage = 0 : i32, atoll.sweep = 0 : i32}
        : (tensor<4xf32>) -> tensor<2xf32>
    %5 = stablehlo.add %3, %4 {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<2xf32>
    %6 = stablehlo.reduce(%5 init: %none) applies stablehlo.add across dimensions = [0]
        {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : (tensor<2xf32>, tensor<f32>) -> tensor<f32>
    %7 = stablehlo.custom_call @atoll.exchange(%6)
        {atoll.exchange = "add", atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : (tensor<f32>) -> tensor<f32>
    %8 = stablehlo.broadcast_in_dim %7, dims = [] {atoll.stage = 0 : i32, atoll.sweep = 2 : i32} : (tensor<f32>)
        -> tensor<2xf32>
    %9 = stablehlo.divide %5, %8 {atoll.stage = 0 : i32, atoll.sweep = 2 : i32} : tensor<2xf32>
    %10 = stablehlo.custom_call @atoll.exchange(%9)
        {atoll.exchange = "gather", atoll.share = 0 : i32, atoll.stage = 0 : i32, atoll.sweep = 2 : i32}
        : (tensor<2xf32>) -> tensor<4xf32>
    return %10, %0#1 : tensor<4xf32>, tensor<4xf32>
  }
}
