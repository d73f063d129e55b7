// RUN: atoll-opt %s --passes "order-tasks" | filecheck %s

// interleaved-1f1b(2): each island has two stages, and runs those of several microbatches in turn.

// CHECK: mpmd.for {{.*}}atoll.order = {island0 = "F0@0 F1@0 F0@2 F1@2 B0@2 B1@2 B0@0 B1@0",
// CHECK-SAME: island1 = "F0@1 F1@1 F0@3 B0@3 F1@3 B1@3 B0@1 B1@1"}

!on0 = !mpmd.mesh_tensor<"island0", tensor<4xf32>>
!on1 = !mpmd.mesh_tensor<"island1", tensor<4xf32>>
#islands = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>
module attributes {atoll.plan = "stages=4, microbatches=2, schedule=interleaved-1f1b(2)",
    atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: !on0 {atoll.parts = 2 : i32}, %p: !on0) -> !on0 attributes {topology = #islands} {
    %0 = mpmd.for (%p) {atoll.role = "FB", atoll.parts = array<i64: 0>, iterations = 2 : ui32}
        (%part: !on0, %i: tensor<ui32>) {
      %1 = mpmd.call @microbatch(%x) : (!on0) -> !on0
      mpmd.return %1 : !on0
    } : !on0
    return %0 : !on0
  }
  func.func private @microbatch(%x: !on0) -> !on0 attributes {topology = #islands} {
    %0 = mpmd.fragment_call<mesh="island0", origin=["F0"]> @f(%x) : (!on0) -> !on0
    %1 = mpmd.transfer %0 : (!on0) -> !on1
    %2 = mpmd.fragment_call<mesh="island1", origin=["F1"]> @f(%1) : (!on1) -> !on1
    %3 = mpmd.transfer %2 : (!on1) -> !on0
    %4 = mpmd.fragment_call<mesh="island0", origin=["F2"]> @f(%3) : (!on0) -> !on0
    %5 = mpmd.transfer %4 : (!on0) -> !on1
    %6 = mpmd.fragment_call<mesh="island1", origin=["F3"]> @f(%5) : (!on1) -> !on1
    %7 = mpmd.fragment_call<mesh="island1", origin=["B3"]> @f(%6) : (!on1) -> !on1
    %8 = mpmd.transfer %7 : (!on1) -> !on0
    %9 = mpmd.fragment_call<mesh="island0", origin=["B2"]> @f(%8) : (!on0) -> !on0
    %10 = mpmd.transfer %9 : (!on0) -> !on1
    %11 = mpmd.fragment_call<mesh="island1", origin=["B1"]> @f(%10) : (!on1) -> !on1
    %12 = mpmd.transfer %11 : (!on1) -> !on0
    %13 = mpmd.fragment_call<mesh="island0", origin=["B0"]> @f(%12) : (!on0) -> !on0
    return %13 : !on0
  }
  func.func private @f(%a: tensor<4xf32>) -> tensor<4xf32> attributes {mesh_shape = #sdy.mesh<["devices"=1]>} {
    %0 = stablehlo.negate %a : tensor<4xf32>
    return %0 : tensor<4xf32>
  }
}
