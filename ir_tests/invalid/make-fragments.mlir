// RUN: atoll-opt %s --passes "make-fragments" --verify-diagnostics

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
