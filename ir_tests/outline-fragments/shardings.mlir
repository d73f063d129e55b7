// RUN: atoll-opt %s --passes "outline-fragments" | filecheck %s

// How values are divided over the devices of their island is written on the function's arguments and results.

// CHECK:      func.func private @F0(%arg0: tensor<4xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}]>})
// CHECK-SAME: -> (tensor<4xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}]>})
// CHECK-SAME: attributes {mesh_shape = #sdy.mesh<["x"=2]>}

!on_a = !mpmd.mesh_tensor<"a", tensor<4xf32>, sharding=<@mesh, [{"x"}]>>
#islands = #mpmd.topology<<"a" : <["x"=2]>>>
module attributes {atoll.topology = "island a : cpu[x=2]"} {
  sdy.mesh @mesh = <["x"=2]>
  func.func @main(%x: !on_a) -> !on_a attributes {topology = #islands} {
    %0 = mpmd.fragment<mesh="a", origin=["F0"]> (%x) {atoll.stage = 0 : i32, atoll.sweep = 0 : i32}
        (%v: tensor<4xf32>) {
      %n = stablehlo.negate %v : tensor<4xf32>
      mpmd.return %n : tensor<4xf32>
    } : (!on_a) -> !on_a
    return %0 : !on_a
  }
}
