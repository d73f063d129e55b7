// RUN: atoll-opt %s --passes "verify-scheduled" --verify-diagnostics --split-input-file

// What is wrong in a module whose tasks are in order.

module {
  func.func @main() {
    // expected-error @below {{stablehlo.constant stands in @main, outside of every fragment; run outline-fragments}}
    %0 = stablehlo.constant dense<1.0> : tensor<4xf32>
    return
  }
}

// -----

!on0 = !mpmd.mesh_tensor<"island0", tensor<4xf32>>
#islands = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>
module {
  func.func @main(%x: !on0) -> (!on0 {atoll.path = "result"}) attributes {topology = #islands} {
    // expected-error @below {{mpmd.fragment stands in @main, outside of every fragment}}
    %0 = mpmd.fragment<mesh="island0", origin=["F0"]> (%x) {atoll.stage = 0 : i32, atoll.sweep = 0 : i32}
        (%a: tensor<4xf32>) {
      %n = stablehlo.negate %a : tensor<4xf32>
      mpmd.return %n : tensor<4xf32>
    } : (!on0) -> !on0
    return %0 : !on0
  }
}

// -----

!on0 = !mpmd.mesh_tensor<"island0", tensor<4xf32>>
#islands = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>
module {
  // expected-error @below {{argument 0 of @main has no atoll.path; add {atoll.path = "..."}}}
  func.func @main(%x: !on0) -> (!on0 {atoll.path = "result"}) attributes {topology = #islands} {
    return %x : !on0
  }
}

// -----

!on0 = !mpmd.mesh_tensor<"island0", tensor<4xf32>>
#islands = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>
module {
  // expected-error @below {{result 0 of @main has no atoll.path; add {atoll.path = "..."}}}
  func.func @main(%x: !on0 {atoll.path = "x"}) -> !on0 attributes {topology = #islands} {
    return %x : !on0
  }
}

// -----

!on0 = !mpmd.mesh_tensor<"island0", tensor<4xf32>>
#islands = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>
module {
  // expected-error @below {{results 0 and 1 of @main are both result; give each its own atoll.path}}
  func.func @main(%x: !on0 {atoll.path = "x"})
      -> (!on0 {atoll.path = "result"}, !on0 {atoll.path = "result"}) attributes {topology = #islands} {
    return %x, %x : !on0, !on0
  }
}

// -----

!on0 = !mpmd.mesh_tensor<"island0", tensor<4xf32>>
!on1 = !mpmd.mesh_tensor<"island1", tensor<4xf32>>
#islands = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>
module attributes {atoll.plan = "stages=2, microbatches=3, schedule=1f1b", atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: !on0 {atoll.parts = 3 : i32, atoll.path = "x"}, %z: !on1 {atoll.path = "z"})
      -> (!on1 {atoll.path = "result"}) attributes {topology = #islands} {
    // expected-error @below {{a loop has no order of tasks; run order-tasks}}
    %0 = mpmd.for (%z) {atoll.role = "FB", iterations = 3 : ui32} (%a: !on1, %i: tensor<ui32>) {
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

// -----

!on0 = !mpmd.mesh_tensor<"island0", tensor<4xf32>>
!on1 = !mpmd.mesh_tensor<"island1", tensor<4xf32>>
#islands = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>
module attributes {atoll.plan = "stages=2, microbatches=3, schedule=1f1b", atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: !on0 {atoll.parts = 3 : i32, atoll.path = "x"}, %z: !on1 {atoll.path = "z"})
      -> (!on1 {atoll.path = "result"}) attributes {topology = #islands} {
    // expected-error @below {{F2@0, in the row of island island0, is there twice}}
    %0 = mpmd.for (%z) {atoll.role = "FB", atoll.order = {island0 = "F0@0 F1@0 F2@0 F2@0",
        island1 = "F0@1 B0@1 F1@1 B1@1 F2@1 B2@1"}, iterations = 3 : ui32} (%a: !on1, %i: tensor<ui32>) {
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

// -----

!on0 = !mpmd.mesh_tensor<"island0", tensor<4xf32>>
!on1 = !mpmd.mesh_tensor<"island1", tensor<4xf32>>
#islands = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>
module attributes {atoll.plan = "stages=2, microbatches=3, schedule=1f1b", atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: !on0 {atoll.parts = 3 : i32, atoll.path = "x"}, %z: !on1 {atoll.path = "z"})
      -> (!on1 {atoll.path = "result"}) attributes {topology = #islands} {
    // expected-error @below {{F3@0, in the row of island island0, is no task of the loop}}
    %0 = mpmd.for (%z) {atoll.role = "FB", atoll.order = {island0 = "F0@0 F1@0 F3@0",
        island1 = "F0@1 B0@1 F1@1 B1@1 F2@1 B2@1"}, iterations = 3 : ui32} (%a: !on1, %i: tensor<ui32>) {
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

// -----

!on0 = !mpmd.mesh_tensor<"island0", tensor<4xf32>>
!on1 = !mpmd.mesh_tensor<"island1", tensor<4xf32>>
#islands = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>
module attributes {atoll.plan = "stages=2, microbatches=3, schedule=1f1b", atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: !on0 {atoll.parts = 3 : i32, atoll.path = "x"}, %z: !on1 {atoll.path = "z"})
      -> (!on1 {atoll.path = "result"}) attributes {topology = #islands} {
    // expected-error @below {{F2@0 is in no row}}
    %0 = mpmd.for (%z) {atoll.role = "FB", atoll.order = {island0 = "F0@0 F1@0",
        island1 = "F0@1 B0@1 F1@1 B1@1 F2@1 B2@1"}, iterations = 3 : ui32} (%a: !on1, %i: tensor<ui32>) {
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

// -----

!on0 = !mpmd.mesh_tensor<"island0", tensor<4xf32>>
!on1 = !mpmd.mesh_tensor<"island1", tensor<4xf32>>
#islands = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>
module attributes {atoll.plan = "stages=2, microbatches=3, schedule=1f1b", atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: !on0 {atoll.parts = 3 : i32, atoll.path = "x"}, %z: !on1 {atoll.path = "z"})
      -> (!on1 {atoll.path = "result"}) attributes {topology = #islands} {
    // expected-error @below {{B2@1 is in the row of island island0 and runs on island1}}
    %0 = mpmd.for (%z) {atoll.role = "FB", atoll.order = {island0 = "F0@0 F1@0 F2@0 B2@1",
        island1 = "F0@1 B0@1 F1@1 B1@1 F2@1"}, iterations = 3 : ui32} (%a: !on1, %i: tensor<ui32>) {
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

// -----

!on0 = !mpmd.mesh_tensor<"island0", tensor<4xf32>>
!on1 = !mpmd.mesh_tensor<"island1", tensor<4xf32>>
#islands = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>
module attributes {atoll.plan = "stages=2, microbatches=3, schedule=1f1b", atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: !on0 {atoll.parts = 3 : i32, atoll.path = "x"}, %z: !on1 {atoll.path = "z"})
      -> (!on1 {atoll.path = "result"}) attributes {topology = #islands} {
    // expected-error @below {{'second' is no task; write for example F3@0: task F0 of microbatch 3}}
    %0 = mpmd.for (%z) {atoll.role = "FB", atoll.order = {island0 = "F0@0 F1@0 second",
        island1 = "F0@1 B0@1 F1@1 B1@1 F2@1 B2@1"}, iterations = 3 : ui32} (%a: !on1, %i: tensor<ui32>) {
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

// -----

!on0 = !mpmd.mesh_tensor<"island0", tensor<4xf32>>
!on1 = !mpmd.mesh_tensor<"island1", tensor<4xf32>>
#islands = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>
module attributes {atoll.plan = "stages=2, microbatches=3, schedule=1f1b", atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: !on0 {atoll.parts = 3 : i32, atoll.path = "x"}, %z: !on1 {atoll.path = "z"})
      -> (!on1 {atoll.path = "result"}) attributes {topology = #islands} {
    // expected-error @below {{the islands wait for each other: island1 at B0@1; correct atoll.order, or run order-tasks}}
    %0 = mpmd.for (%z) {atoll.role = "FB", atoll.order = {island0 = "F0@0 F1@0 F2@0",
        island1 = "B0@1 F0@1 F1@1 B1@1 F2@1 B2@1"}, iterations = 3 : ui32} (%a: !on1, %i: tensor<ui32>) {
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

// -----

// island1 would send the value on to island2 after F1, which waits for what comes back from there.
!on0 = !mpmd.mesh_tensor<"island0", tensor<4xf32>>
!on1 = !mpmd.mesh_tensor<"island1", tensor<4xf32>>
!on2 = !mpmd.mesh_tensor<"island2", tensor<4xf32>>
#islands = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>, <"island2" : <["devices"=1]>>>
module attributes {atoll.plan = "microbatches=2", atoll.topology = "3 x cpu[1]"} {
  func.func @main(%x: !on0 {atoll.batch, atoll.parts = 2 : i32, atoll.path = "x"}, %z: !on1 {atoll.path = "z"})
      -> (!on1 {atoll.path = "result"}) attributes {topology = #islands} {
    %0 = mpmd.for (%z) {atoll.order = {island0 = "F0@0 F1@0", island1 = "F0@1 F1@1", island2 = "F0@2 F1@2"},
        atoll.role = "F", iterations = 2 : ui32} (%a: !on1, %i: tensor<ui32>) {
      %1 = mpmd.call @microbatch(%a, %x) : (!on1, !on0) -> !on1
      mpmd.return %1 : !on1
    } : !on1
    return %0 : !on1
  }
  func.func private @microbatch(%a: !on1, %x: !on0) -> !on1 attributes {topology = #islands} {
    %0 = mpmd.fragment_call<mesh="island0", origin=["F0"]> @f(%x) : (!on0) -> !on0
    %1 = mpmd.transfer %0 : (!on0) -> !on1
    // expected-error @below {{in a loop, island1 sends on what was sent to it; send it from where it is made}}
    %2 = mpmd.transfer %1 : (!on1) -> !on2
    %3 = mpmd.fragment_call<mesh="island2", origin=["F2"]> @f(%2) : (!on2) -> !on2
    %4 = mpmd.transfer %3 : (!on2) -> !on1
    %5 = mpmd.fragment_call<mesh="island1", origin=["F1"]> @h(%1, %4, %a) : (!on1, !on1, !on1) -> !on1
    return %5 : !on1
  }
  func.func private @f(%a: tensor<4xf32>) -> tensor<4xf32> attributes {mesh_shape = #sdy.mesh<["devices"=1]>} {
    %0 = stablehlo.negate %a : tensor<4xf32>
    return %0 : tensor<4xf32>
  }
  func.func private @h(%a: tensor<4xf32>, %b: tensor<4xf32>, %c: tensor<4xf32>)
      -> tensor<4xf32> attributes {mesh_shape = #sdy.mesh<["devices"=1]>} {
    %0 = stablehlo.add %b, %a : tensor<4xf32>
    %1 = stablehlo.add %0, %c : tensor<4xf32>
    return %1 : tensor<4xf32>
  }
}

// -----

!on0 = !mpmd.mesh_tensor<"island0", tensor<f32>>
#islands = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>
module attributes {atoll.plan = "replicas=2", atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: !on0 {atoll.path = "x"}) -> (!on0 {atoll.path = "y"}) attributes {topology = #islands} {
    // expected-error @below {{result 0 of a loop is a sum of one replica, and func.return takes it; let one mpmd.transfer with atoll.exchange take it, and all else take what that makes}}
    %0 = mpmd.for (%x) {atoll.order = {island0 = "F0@0"}, atoll.role = "F", iterations = 2 : ui32} (%s: !on0, %i: tensor<ui32>) {
      %1 = mpmd.call @microbatch(%s) : (!on0) -> !on0
      mpmd.return %1 : !on0
    } : !on0
    return %0 : !on0
  }
  func.func private @microbatch(%s: !on0) -> !on0 attributes {topology = #islands} {
    %0 = mpmd.fragment_call<mesh="island0", origin=["F0"]> @f(%s) : (!on0) -> !on0
    return %0 : !on0
  }
  func.func private @f(%a: tensor<f32>) -> tensor<f32> attributes {mesh_shape = #sdy.mesh<["devices"=1]>} {
    return %a : tensor<f32>
  }
}

// -----

!on0 = !mpmd.mesh_tensor<"island0", tensor<f32>>
#islands = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>
module attributes {atoll.plan = "replicas=2", atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: !on0 {atoll.path = "x"}) -> (!on0 {atoll.path = "y"}) attributes {topology = #islands} {
    // expected-error @below {{F1@0, in the row of island island0, is no task of the loop; correct atoll.order, or run order-tasks}}
    %0 = mpmd.for (%x) {atoll.order = {island0 = "F0@0 F1@0"}, atoll.role = "F", iterations = 2 : ui32} (%s: !on0, %i: tensor<ui32>) {
      %1 = mpmd.call @microbatch(%s) : (!on0) -> !on0
      mpmd.return %1 : !on0
    } : !on0
    return %0 : !on0
  }
  func.func private @microbatch(%s: !on0) -> !on0 attributes {topology = #islands} {
    %0 = mpmd.fragment_call<mesh="island0", origin=["F0"]> @f(%s) : (!on0) -> !on0
    return %0 : !on0
  }
  func.func private @f(%a: tensor<f32>) -> tensor<f32> attributes {mesh_shape = #sdy.mesh<["devices"=1]>} {
    return %a : tensor<f32>
  }
}

// -----

module attributes {atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: !mpmd.mesh_tensor<"island0", tensor<4xf32>>) -> !mpmd.mesh_tensor<"island0", tensor<4xf32>> attributes {topology = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>} {
    // expected-error @below {{a fragment is called 'first', which says no stage and what it does for it; write for example F0, or L0.F0 in the first of several loops}}
    %0 = mpmd.fragment_call<mesh="island0", origin=["first"]> @f(%x) : (!mpmd.mesh_tensor<"island0", tensor<4xf32>>) -> !mpmd.mesh_tensor<"island0", tensor<4xf32>>
    return %0 : !mpmd.mesh_tensor<"island0", tensor<4xf32>>
  }
  func.func private @f(%a: tensor<4xf32>) -> tensor<4xf32> attributes {mesh_shape = #sdy.mesh<["devices"=1]>} {
    return %a : tensor<4xf32>
  }
}

// -----

module attributes {atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: !mpmd.mesh_tensor<"island0", tensor<4xf32>>) -> !mpmd.mesh_tensor<"island0", tensor<4xf32>> attributes {topology = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>} {
    %0 = mpmd.fragment_call<mesh="island0", origin=["F0"]> @f(%x) : (!mpmd.mesh_tensor<"island0", tensor<4xf32>>) -> !mpmd.mesh_tensor<"island0", tensor<4xf32>>
    // expected-error @below {{the name F0 is taken; give each fragment its own}}
    %1 = mpmd.fragment_call<mesh="island0", origin=["F0"]> @f(%0) : (!mpmd.mesh_tensor<"island0", tensor<4xf32>>) -> !mpmd.mesh_tensor<"island0", tensor<4xf32>>
    return %1 : !mpmd.mesh_tensor<"island0", tensor<4xf32>>
  }
  func.func private @f(%a: tensor<4xf32>) -> tensor<4xf32> attributes {mesh_shape = #sdy.mesh<["devices"=1]>} {
    return %a : tensor<4xf32>
  }
}

// -----

module {
  func.func @main(%x: !mpmd.mesh_tensor<"a", tensor<4xf32>> {atoll.path = "x"}) -> (!mpmd.mesh_tensor<"a", tensor<4xf32>> {atoll.path = "result"}) attributes {topology = #mpmd.topology<<"a" : <["devices"=1]>>>} {
    // expected-error @below {{atoll.stage is left on mpmd.fragment_call, which nothing reads from here on; run the passes that lead to phase scheduled, or take it away}}
    %0 = mpmd.fragment_call<mesh="a", origin=["F0"]> @F0(%x) {atoll.stage = 0 : i32} : (!mpmd.mesh_tensor<"a", tensor<4xf32>>) -> !mpmd.mesh_tensor<"a", tensor<4xf32>>
    return %0 : !mpmd.mesh_tensor<"a", tensor<4xf32>>
  }
  func.func private @F0(%x: tensor<4xf32>) -> tensor<4xf32> attributes {mesh_shape = #sdy.mesh<["devices"=1]>} {
    return %x : tensor<4xf32>
  }
}
