// RUN: atoll-opt %s --passes "outline-fragments" | filecheck %s

// The fragments of a microbatch are outlined as those of @main are.

// CHECK:      func.func private @microbatch
// CHECK-NEXT: [[Y:%.*]] = mpmd.fragment_call<mesh="island0", origin=["F0"]> @F0(%arg0)
// CHECK-NEXT: return [[Y]]
// CHECK:      func.func private @F0(%arg0: tensor<4xf32>) -> tensor<4xf32>

!on0 = !mpmd.mesh_tensor<"island0", tensor<4xf32>>
!on1 = !mpmd.mesh_tensor<"island1", tensor<4xf32>>
#islands = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>
module attributes {atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: !on0 {atoll.parts = 3 : i32}, %p: !on0) -> !on0 attributes {topology = #islands} {
    %0 = mpmd.for (%p) {atoll.parts = array<i64: 0>, iterations = 3 : ui32} (%part: !on0, %i: tensor<ui32>) {
      %1 = mpmd.call @microbatch(%x) : (!on0) -> !on0
      mpmd.return %1 : !on0
    } : !on0
    return %0 : !on0
  }
  func.func private @microbatch(%x: !on0) -> !on0 attributes {topology = #islands} {
    %0 = mpmd.fragment<mesh="island0", origin=["F0"]> (%x) {atoll.stage = 0 : i32, atoll.sweep = 0 : i32}
        (%a: tensor<4xf32>) {
      %n = stablehlo.negate %a : tensor<4xf32>
      mpmd.return %n : tensor<4xf32>
    } : (!on0) -> !on0
    return %0 : !on0
  }
}
