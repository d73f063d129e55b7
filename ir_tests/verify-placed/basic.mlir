// RUN: atoll-opt %s --passes "verify-placed" | filecheck %s

// A value may be sent on from where it was sent to.

// CHECK: atoll.phase = "placed"

!on0 = !mpmd.mesh_tensor<"island0", tensor<4xf32>>
!on1 = !mpmd.mesh_tensor<"island1", tensor<4xf32>>
!on2 = !mpmd.mesh_tensor<"island2", tensor<4xf32>>
#islands = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>, <"island2" : <["devices"=1]>>>
module attributes {atoll.phase = "staged", atoll.topology = "3 x cpu[1]"} {
  func.func @main(%x: !on0) -> !on2 attributes {topology = #islands} {
    %0 = mpmd.fragment<mesh="island0", origin=["F0"]> (%x) {atoll.stage = 0 : i32, atoll.sweep = 0 : i32}
        (%a: tensor<4xf32>) {
      %n = stablehlo.negate %a : tensor<4xf32>
      mpmd.return %n : tensor<4xf32>
    } : (!on0) -> !on0
    %1 = mpmd.transfer %0 : (!on0) -> !on1
    %2 = mpmd.transfer %1 : (!on1) -> !on2
    return %2 : !on2
  }
}
