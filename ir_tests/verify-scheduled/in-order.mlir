// RUN: atoll-opt %s --passes "verify-scheduled" | filecheck %s

// An order passes if it has every task of every microbatch once, on the island where its fragment is, and no island
// waits for one that waits for it.

// CHECK: atoll.phase = "scheduled"

!on0 = !mpmd.mesh_tensor<"island0", tensor<4xf32>>
!on1 = !mpmd.mesh_tensor<"island1", tensor<4xf32>>
#islands = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>
module attributes {
  atoll.phase = "placed", atoll.plan = "stages=2, microbatches=2, schedule=1f1b", atoll.topology = "2 x cpu[1]"
} {
  func.func @main(%x: !on0 {atoll.path = "x", atoll.batch, atoll.parts = 2 : i32}, %p: !on1 {atoll.path = "p"})
      -> (!on1 {atoll.path = "sum"}) attributes {topology = #islands} {
    %0 = mpmd.for (%p) {atoll.order = {island0 = "F0@0 F1@0", island1 = "F0@1 F1@1"}, atoll.role = "F", iterations = 2 : ui32}
        (%s: !on1, %i: tensor<ui32>) {
      %1 = mpmd.call @microbatch(%s, %x) : (!on1, !on0) -> !on1
      mpmd.return %1 : !on1
    } : !on1
    return %0 : !on1
  }
  func.func private @microbatch(%s: !on1, %x: !on0) -> !on1 attributes {topology = #islands} {
    %0 = mpmd.fragment_call<mesh="island0", origin=["F0"]> @f(%x) : (!on0) -> !on0
    %1 = mpmd.transfer %0 : (!on0) -> !on1
    %2 = mpmd.fragment_call<mesh="island1", origin=["F1"]> @g(%1, %s) : (!on1, !on1) -> !on1
    return %2 : !on1
  }
  func.func private @f(%a: tensor<4xf32>) -> tensor<4xf32> attributes {mesh_shape = #sdy.mesh<["devices"=1]>} {
    %0 = stablehlo.negate %a : tensor<4xf32>
    return %0 : tensor<4xf32>
  }
  func.func private @g(%a: tensor<4xf32>, %b: tensor<4xf32>) -> tensor<4xf32>
      attributes {mesh_shape = #sdy.mesh<["devices"=1]>} {
    %0 = stablehlo.add %a, %b : tensor<4xf32>
    return %0 : tensor<4xf32>
  }
}
