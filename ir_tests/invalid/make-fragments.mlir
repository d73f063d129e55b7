// RUN: atoll-opt %s --passes "make-fragments" --verify-diagnostics --split-input-file

// What does not fit the islands or the replicas.

module attributes {
  atoll.topology = "island a : cpu[data=2]\nisland b : cpu[data=4]", atoll.stages = 2 : i32, atoll.phase = "staged"
} {
  sdy.mesh @mesh = <["data"=2]>
  func.func @main(%x: tensor<8xf32> {atoll.path = "x"}) -> (tensor<8xf32> {atoll.path = "result"}) {
    // expected-error @below {{shard_map needs the same mesh on all islands, and these differ; give the islands equal axes}}
    %0 = sdy.manual_computation(%x) in_shardings=[<@mesh, [{"data"}]>] out_shardings=[<@mesh, [{"data"}]>]
        manual_axes={"data"} (%local: tensor<4xf32>) {
      %1 = stablehlo.negate %local : tensor<4xf32>
      sdy.return %1 : tensor<4xf32>
    } {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : (tensor<8xf32>) -> tensor<8xf32>
    return %0 : tensor<8xf32>
  }
}

// -----

module attributes {atoll.plan = "replicas=2", atoll.stages = 1 : i32, atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: tensor<f32> {atoll.path = "x", atoll.batch, atoll.parts = 2 : i32}) -> tensor<f32> {
    %zero = stablehlo.constant {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} dense<0.0> : tensor<f32>
    %0 = mpmd.for (%zero) {atoll.role = "F", iterations = 2 : ui32} (%s: tensor<f32>, %i: tensor<ui32>) {
      // expected-error @below {{a loop carries on what stablehlo.subtract makes, which replicas cannot combine; make it by one of stablehlo.add, stablehlo.maximum, stablehlo.minimum, stablehlo.and, stablehlo.or}}
      %1 = stablehlo.subtract %s, %x {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<f32>
      mpmd.return %1 : tensor<f32>
    } : tensor<f32>
    return %0 : tensor<f32>
  }
}
