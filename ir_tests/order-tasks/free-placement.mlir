// RUN: atoll-opt %s --passes "order-tasks" | filecheck %s

// A free placement is no pipeline: each task runs as soon as it can, those of the earliest microbatch first.

// CHECK: mpmd.for {{.*}}atoll.order = {island0 = "F0@0 F1@0 F2@0", island1 = "F0@1 B0@1 F1@1 B1@1 F2@1 B2@1"}

!on0 = !mpmd.mesh_tensor<"island0", tensor<4xf32>>
!on1 = !mpmd.mesh_tensor<"island1", tensor<4xf32>>
#islands = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>
module attributes {atoll.plan = "microbatches=3, placement={\"a\": \"island0\"}", atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: !on0 {atoll.parts = 3 : i32}, %z: !on1) -> !on1 attributes {topology = #islands} {
    %0 = mpmd.for (%z) {atoll.role = "FF", iterations = 3 : ui32} (%a: !on1, %i: tensor<ui32>) {
      %1 = mpmd.call @microbatch(%a, %x) : (!on1, !on0) -> !on1
      mpmd.return %1 : !on1
    } : !on1
    return %0 : !on1
  }
  func.func private @microbatch(%a: !on1, %x: !on0) -> !on1 attributes {topology = #islands} {
    %0 = mpmd.fragment_call<mesh="island0", origin=["F0"]> @f(%x) : (!on0) -> !on0
    %1 = mpmd.transfer %0 : (!on0) -> !on1
    %2 = mpmd.fragment_call<mesh="island1", origin=["F1"]> @f(%1) : (!on1) -> !on1
    %3 = mpmd.fragment_call<mesh="island1", origin=["B1"]> @g(%2, %a) : (!on1, !on1) -> !on1
    return %3 : !on1
  }
  func.func private @f(%a: tensor<4xf32>) -> tensor<4xf32> attributes {mesh_shape = #sdy.mesh<["devices"=1]>} {
    %0 = stablehlo.negate %a : tensor<4xf32>
    return %0 : tensor<4xf32>
  }
  func.func private @g(%a: tensor<4xf32>, %b: tensor<4xf32>)
      -> tensor<4xf32> attributes {mesh_shape = #sdy.mesh<["devices"=1]>} {
    %0 = stablehlo.add %b, %a : tensor<4xf32>
    return %0 : tensor<4xf32>
  }
}
