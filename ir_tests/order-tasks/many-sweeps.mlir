// RUN: atoll-opt %s --passes "order-tasks" | filecheck %s

// A function that goes over the stages more often than forward and backward runs as values come, if the plan leaves the
// schedule open: here with one microbatch open for each island, as memory is limited. A note says so.

// CHECK:      atoll.notes = [{{.*}}kind = "many-sweeps", order = "as values come, with 2 microbatches open at once"
// CHECK:      mpmd.for {{.*}}atoll.order = {island0 = "F0@0 F1@0 B0@0 B1@0 F2@0 B2@0",
// CHECK-SAME: island1 = "F0@1 F1@1 B0@1 B1@1 F2@1 B2@1"}

!on0 = !mpmd.mesh_tensor<"island0", tensor<4xf32>>
!on1 = !mpmd.mesh_tensor<"island1", tensor<4xf32>>
#islands = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>
module attributes {atoll.plan = "stages=2, microbatches=3, schedule=auto", atoll.topology = "2 x cpu[1] 1 MiB"} {
  func.func @main(%x: !on0 {atoll.parts = 3 : i32}, %p: !on1) -> !on1 attributes {topology = #islands} {
    %0 = mpmd.for (%p) {atoll.role = "FBF", atoll.parts = array<i64: 0>, iterations = 3 : ui32}
        (%part: !on1, %i: tensor<ui32>) {
      %1 = mpmd.call @microbatch(%x) : (!on0) -> !on1
      mpmd.return %1 : !on1
    } : !on1
    return %0 : !on1
  }
  func.func private @microbatch(%x: !on0) -> !on1 attributes {topology = #islands} {
    %0 = mpmd.fragment_call<mesh="island0", origin=["F0"]> @f(%x) : (!on0) -> !on0
    %1 = mpmd.transfer %0 : (!on0) -> !on1
    %2 = mpmd.fragment_call<mesh="island1", origin=["F1"]> @f(%1) : (!on1) -> !on1
    %3 = mpmd.transfer %2 : (!on1) -> !on0
    %4 = mpmd.fragment_call<mesh="island0", origin=["B0"]> @f(%3) : (!on0) -> !on0
    %5 = mpmd.transfer %4 : (!on0) -> !on1
    %6 = mpmd.fragment_call<mesh="island1", origin=["B1"]> @f(%5) : (!on1) -> !on1
    return %6 : !on1
  }
  func.func private @f(%a: tensor<4xf32>) -> tensor<4xf32> attributes {mesh_shape = #sdy.mesh<["devices"=1]>} {
    %0 = stablehlo.negate %a : tensor<4xf32>
    return %0 : tensor<4xf32>
  }
}
