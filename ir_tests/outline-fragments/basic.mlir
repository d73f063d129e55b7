// RUN: atoll-opt %s --passes "outline-fragments" | filecheck %s

// The body of a fragment becomes a function, which the fragment calls.

// CHECK-LABEL: @main
// CHECK-NEXT:  [[Y:%.*]] = mpmd.fragment_call<mesh="island0", origin=["F0"]> @F0(%arg0)
// CHECK-NEXT:  return [[Y]]
// CHECK:       func.func private @F0(%arg0: tensor<4xf32>) -> tensor<4xf32>
// CHECK-SAME:      attributes {mesh_shape = #sdy.mesh<["devices"=1]>}
// CHECK-NEXT:  [[N:%.*]] = stablehlo.negate %arg0
// CHECK-NEXT:  return [[N]]

!on0 = !mpmd.mesh_tensor<"island0", tensor<4xf32>>
#islands = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>
module attributes {atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: !on0) -> !on0 attributes {topology = #islands} {
    %0 = mpmd.fragment<mesh="island0", origin=["F0"]> (%x) {atoll.stage = 0 : i32, atoll.sweep = 0 : i32}
        (%a: tensor<4xf32>) {
      %n = stablehlo.negate %a : tensor<4xf32>
      mpmd.return %n : tensor<4xf32>
    } : (!on0) -> !on0
    return %0 : !on0
  }
}
