// RUN: atoll-opt %s --passes "verify-scheduled" | filecheck %s

// A module that is scheduled passes, and says so.

// CHECK: atoll.phase = "scheduled"

!on0 = !mpmd.mesh_tensor<"island0", tensor<4xf32>>
!on1 = !mpmd.mesh_tensor<"island1", tensor<4xf32>>
#islands = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>
module attributes {atoll.phase = "placed", atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: !on0 {atoll.path = "x"}) -> (!on1 {atoll.path = "result"}) attributes {topology = #islands} {
    %0 = mpmd.fragment_call<mesh="island0", origin=["F0"]> @F0(%x) : (!on0) -> !on0
    %1 = mpmd.transfer %0 : (!on0) -> !on1
    return %1 : !on1
  }
  func.func private @F0(%a: tensor<4xf32>) -> tensor<4xf32> attributes {mesh_shape = #sdy.mesh<["devices"=1]>} {
    %0 = stablehlo.negate %a : tensor<4xf32>
    return %0 : tensor<4xf32>
  }
}
