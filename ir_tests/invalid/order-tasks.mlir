// RUN: atoll-opt %s --passes "order-tasks" --verify-diagnostics --split-input-file

// A plan that does not fit what has been decided in the module.

!on0 = !mpmd.mesh_tensor<"island0", tensor<4xf32>>
!on1 = !mpmd.mesh_tensor<"island1", tensor<4xf32>>
#islands = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>
// expected-error @below {{the plan makes 2 stages, each segment counted, and the module has 3; give the plan as it was, or change it in a dump of phase timed, after which this is decided}}
module attributes {atoll.plan = "stages=2, microbatches=3, schedule=1f1b", atoll.stages = 3 : i32,
    atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: !on0 {atoll.parts = 3 : i32}, %z: !on1) -> !on1 attributes {topology = #islands} {
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
module attributes {atoll.plan = "stages=2, microbatches=4, schedule=1f1b", atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: !on0 {atoll.parts = 3 : i32}, %z: !on1) -> !on1 attributes {topology = #islands} {
    // expected-error @below {{the plan has 4 microbatches on all replicas together, and the module has 3; give the plan as it was, or change it in a dump of phase stablehlo, after which this is decided}}
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
  func.func @main(%x: !on0 {atoll.parts = 3 : i32}, %z: !on1) -> !on1 attributes {topology = #islands} {
    // expected-error @below {{schedule 1f1b has F2 nowhere, and the module has it on island1; give the plan as it was, or change it in a dump of phase timed, after which this is decided}}
    %0 = mpmd.for (%z) {atoll.role = "FB", iterations = 3 : ui32} (%a: !on1, %i: tensor<ui32>) {
      %1 = mpmd.call @microbatch(%a, %x) : (!on1, !on0) -> !on1
      mpmd.return %1 : !on1
    } : !on1
    return %0 : !on1
  }
  func.func private @microbatch(%a: !on1, %x: !on0) -> !on1 attributes {topology = #islands} {
    %0 = mpmd.fragment_call<mesh="island0", origin=["F0"]> @f(%x) : (!on0) -> !on0
    %1 = mpmd.transfer %0 : (!on0) -> !on1
    %2 = mpmd.fragment_call<mesh="island1", origin=["F2"]> @f(%1) : (!on1) -> !on1
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

// A function that goes over the stages three times has no schedule but the one that does so sweep by sweep.
!on0 = !mpmd.mesh_tensor<"island0", tensor<4xf32>>
!on1 = !mpmd.mesh_tensor<"island1", tensor<4xf32>>
#islands = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>
// expected-error @unknown {{goes over the stages forward and backward, and the function does so 3 times; leave the schedule out}}
module attributes {atoll.plan = "stages=2, microbatches=3, schedule=1f1b", atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: !on0 {atoll.parts = 3 : i32}, %z: !on1) -> !on1 attributes {topology = #islands} {
    %0 = mpmd.for (%z) {atoll.role = "FBF", iterations = 3 : ui32} (%a: !on1, %i: tensor<ui32>) {
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
    return %a : tensor<4xf32>
  }
  func.func private @g(%a: tensor<4xf32>, %b: tensor<4xf32>) -> tensor<4xf32>
      attributes {mesh_shape = #sdy.mesh<["devices"=1]>} {
    return %b : tensor<4xf32>
  }
}

// -----

// One microbatch has no loop, and no backward task of its own is split.
!on0 = !mpmd.mesh_tensor<"island0", tensor<4xf32>>
!on1 = !mpmd.mesh_tensor<"island1", tensor<4xf32>>
#islands = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>
// expected-error @unknown {{schedule mine runs W0@0 by itself, and with one microbatch no backward task is split}}
module attributes {
  atoll.plan = "stages=2, schedule=\"schedule mine: 2 islands, 1 microbatch; island 0: F0 B0 W0; island 1: F0 B0 W0\"",
  atoll.topology = "2 x cpu[1]"
} {
  func.func @main(%x: !on0) -> !on0 attributes {topology = #islands} {
    %0 = mpmd.fragment_call<mesh="island0", origin=["F0"]> @f(%x) : (!on0) -> !on0
    %1 = mpmd.transfer %0 : (!on0) -> !on1
    %2 = mpmd.fragment_call<mesh="island1", origin=["F1"]> @f(%1) : (!on1) -> !on1
    %3 = mpmd.fragment_call<mesh="island1", origin=["B1"]> @f(%2) : (!on1) -> !on1
    %4 = mpmd.transfer %3 : (!on1) -> !on0
    %5 = mpmd.fragment_call<mesh="island0", origin=["B0"]> @f(%4) : (!on0) -> !on0
    return %5 : !on0
  }
  func.func private @f(%a: tensor<4xf32>) -> tensor<4xf32> attributes {mesh_shape = #sdy.mesh<["devices"=1]>} {
    return %a : tensor<4xf32>
  }
}

// -----

// No schedule is searched for that would be too large to write down.
!on0 = !mpmd.mesh_tensor<"island0", tensor<4xf32>>
!on1 = !mpmd.mesh_tensor<"island1", tensor<4xf32>>
#islands = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>
// expected-error @unknown {{schedule auto would run 600000 microbatches on 2 stages; take fewer}}
module attributes {atoll.plan = "stages=2, microbatches=600000", atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: !on0 {atoll.parts = 600000 : i32}, %z: !on1) -> !on1 attributes {topology = #islands} {
    %0 = mpmd.for (%z) {atoll.role = "FB", iterations = 600000 : ui32} (%a: !on1, %i: tensor<ui32>) {
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
    return %a : tensor<4xf32>
  }
  func.func private @g(%a: tensor<4xf32>, %b: tensor<4xf32>) -> tensor<4xf32>
      attributes {mesh_shape = #sdy.mesh<["devices"=1]>} {
    return %b : tensor<4xf32>
  }
}

// -----

// Nor is one found where no order of the tasks fits the memory.
!on0 = !mpmd.mesh_tensor<"island0", tensor<4xf32>>
!on1 = !mpmd.mesh_tensor<"island1", tensor<4xf32>>
#islands = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>
// expected-error @unknown {{no schedule fits: island 1 can keep 0 and a microbatch takes 16; the least that fits is 0, 16 on the islands}}
module attributes {
  atoll.plan = "stages=2, microbatches=3",
  atoll.topology = "island island0 : cpu[1]\nisland island1 : cpu[1] 8 B"
} {
  func.func @main(%x: !on0 {atoll.parts = 3 : i32}, %z: !on1) -> !on1 attributes {topology = #islands} {
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
    return %a : tensor<4xf32>
  }
  func.func private @g(%a: tensor<4xf32>, %b: tensor<4xf32>) -> tensor<4xf32>
      attributes {mesh_shape = #sdy.mesh<["devices"=1]>} {
    return %b : tensor<4xf32>
  }
}

// -----

// Stages and schedule fit each other and the islands.
!on0 = !mpmd.mesh_tensor<"island0", tensor<4xf32>>
!on1 = !mpmd.mesh_tensor<"island1", tensor<4xf32>>
#islands = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>
// expected-error @unknown {{3 stages go unevenly round 2 islands, and there is no schedule for that; cut into 2 or 4 stages}}
module attributes {
  atoll.plan = "stages=3, microbatches=2",
  atoll.topology = "2 x cpu[1]"
} {
  func.func @main(%x: !on0 {atoll.parts = 2 : i32}, %z: !on1) -> !on1 attributes {topology = #islands} {
    %0 = mpmd.for (%z) {atoll.role = "FB", iterations = 2 : ui32} (%a: !on1, %i: tensor<ui32>) {
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
    return %a : tensor<4xf32>
  }
  func.func private @g(%a: tensor<4xf32>, %b: tensor<4xf32>) -> tensor<4xf32>
      attributes {mesh_shape = #sdy.mesh<["devices"=1]>} {
    return %b : tensor<4xf32>
  }
}

// -----

!on0 = !mpmd.mesh_tensor<"island0", tensor<4xf32>>
!on1 = !mpmd.mesh_tensor<"island1", tensor<4xf32>>
#islands = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>
// expected-error @unknown {{schedule interleaved-1f1b(2) has 2 stages an island, and the plan has 2 on 2 islands; cut into 4 stages}}
module attributes {
  atoll.plan = "stages=2, microbatches=2, schedule=interleaved-1f1b(2)",
  atoll.topology = "2 x cpu[1]"
} {
  func.func @main(%x: !on0 {atoll.parts = 2 : i32}, %z: !on1) -> !on1 attributes {topology = #islands} {
    %0 = mpmd.for (%z) {atoll.role = "FB", iterations = 2 : ui32} (%a: !on1, %i: tensor<ui32>) {
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
    return %a : tensor<4xf32>
  }
  func.func private @g(%a: tensor<4xf32>, %b: tensor<4xf32>) -> tensor<4xf32>
      attributes {mesh_shape = #sdy.mesh<["devices"=1]>} {
    return %b : tensor<4xf32>
  }
}

// -----

!on0 = !mpmd.mesh_tensor<"island0", tensor<4xf32>>
!on1 = !mpmd.mesh_tensor<"island1", tensor<4xf32>>
#islands = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>
// expected-error @unknown {{schedule dualpipe-v needs at least 4 microbatches on 2 islands, not 2; ask for more microbatches}}
module attributes {
  atoll.plan = "stages=4, microbatches=2, schedule=dualpipe-v",
  atoll.topology = "2 x cpu[1]"
} {
  func.func @main(%x: !on0 {atoll.parts = 2 : i32}, %z: !on1) -> !on1 attributes {topology = #islands} {
    %0 = mpmd.for (%z) {atoll.role = "FB", iterations = 2 : ui32} (%a: !on1, %i: tensor<ui32>) {
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
    return %a : tensor<4xf32>
  }
  func.func private @g(%a: tensor<4xf32>, %b: tensor<4xf32>) -> tensor<4xf32>
      attributes {mesh_shape = #sdy.mesh<["devices"=1]>} {
    return %b : tensor<4xf32>
  }
}

// -----

!on0 = !mpmd.mesh_tensor<"island0", tensor<4xf32>>
!on1 = !mpmd.mesh_tensor<"island1", tensor<4xf32>>
#islands = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>
// expected-error @unknown {{schedule mine has no backward tasks, and the function has; take another schedule}}
module attributes {
  atoll.plan = "schedule=\"schedule mine: 2 islands, 1 microbatch; island 0: F0; island 1: F0\"",
  atoll.topology = "2 x cpu[1]"
} {
  func.func @main(%x: !on0 {atoll.parts = 1 : i32}, %z: !on1) -> !on1 attributes {topology = #islands} {
    %0 = mpmd.for (%z) {atoll.role = "FB", iterations = 1 : ui32} (%a: !on1, %i: tensor<ui32>) {
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
    return %a : tensor<4xf32>
  }
  func.func private @g(%a: tensor<4xf32>, %b: tensor<4xf32>) -> tensor<4xf32>
      attributes {mesh_shape = #sdy.mesh<["devices"=1]>} {
    return %b : tensor<4xf32>
  }
}

// -----

!on0 = !mpmd.mesh_tensor<"island0", tensor<4xf32>>
!on1 = !mpmd.mesh_tensor<"island1", tensor<4xf32>>
#islands = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>
// expected-error @unknown {{schedule mine is for 3 islands, and here are 2; write a schedule for 2 islands, or change the plan}}
module attributes {
  atoll.plan = "schedule=\"schedule mine: 3 islands, 1 microbatch; island 0: F0; island 1: F0; island 2: F0\"",
  atoll.topology = "2 x cpu[1]"
} {
  func.func @main(%x: !on0 {atoll.parts = 1 : i32}, %z: !on1) -> !on1 attributes {topology = #islands} {
    %0 = mpmd.for (%z) {atoll.role = "FB", iterations = 1 : ui32} (%a: !on1, %i: tensor<ui32>) {
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
    return %a : tensor<4xf32>
  }
  func.func private @g(%a: tensor<4xf32>, %b: tensor<4xf32>) -> tensor<4xf32>
      attributes {mesh_shape = #sdy.mesh<["devices"=1]>} {
    return %b : tensor<4xf32>
  }
}

// -----

// What tasks take depends on which memory their values are in, which the plan may say wrongly.
!on0 = !mpmd.mesh_tensor<"island0", tensor<4xf32>>
!on1 = !mpmd.mesh_tensor<"island1", tensor<4xf32>>
#islands = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>
// expected-error @unknown {{offload names moments, which is in the path of no argument and no result}}
module attributes {atoll.plan = "stages=2, microbatches=3, offload=\"moments\"", atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: !on0 {atoll.parts = 3 : i32, atoll.path = "x"}, %z: !on1 {atoll.path = "moment"})
      -> (!on1 {atoll.path = "result"}) attributes {topology = #islands} {
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
    return %a : tensor<4xf32>
  }
  func.func private @g(%a: tensor<4xf32>, %b: tensor<4xf32>) -> tensor<4xf32>
      attributes {mesh_shape = #sdy.mesh<["devices"=1]>} {
    return %b : tensor<4xf32>
  }
}

// -----

// A value that is passed through cannot be in one memory before the step and in another one after it.
!on0 = !mpmd.mesh_tensor<"island0", tensor<4xf32>>
!on1 = !mpmd.mesh_tensor<"island1", tensor<4xf32>>
#islands = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>
// expected-error @unknown {{result[1] is to be in the memory of the host, and in that of the chips; put a copy of it there}}
module attributes {atoll.plan = "stages=2, microbatches=3, offload=\"moment\"", atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: !on0 {atoll.parts = 3 : i32, atoll.path = "x"}, %z: !on1 {atoll.path = "z"},
      %m: !on1 {atoll.path = "moment"})
      -> (!on1 {atoll.path = "result[0]"}, !on1 {atoll.path = "result[1]"}) attributes {topology = #islands} {
    %0 = mpmd.for (%z) {atoll.role = "FB", iterations = 3 : ui32} (%a: !on1, %i: tensor<ui32>) {
      %1 = mpmd.call @microbatch(%a, %x) : (!on1, !on0) -> !on1
      mpmd.return %1 : !on1
    } : !on1
    return %0, %m : !on1, !on1
  }
  func.func private @microbatch(%a: !on1, %x: !on0) -> !on1 attributes {topology = #islands} {
    %0 = mpmd.fragment_call<mesh="island0", origin=["F0"]> @f(%x) : (!on0) -> !on0
    %1 = mpmd.transfer %0 : (!on0) -> !on1
    %2 = mpmd.fragment_call<mesh="island1", origin=["F1"]> @f(%1) : (!on1) -> !on1
    %3 = mpmd.fragment_call<mesh="island1", origin=["B1"]> @g(%2, %a) : (!on1, !on1) -> !on1
    return %3 : !on1
  }
  func.func private @f(%a: tensor<4xf32>) -> tensor<4xf32> attributes {mesh_shape = #sdy.mesh<["devices"=1]>} {
    return %a : tensor<4xf32>
  }
  func.func private @g(%a: tensor<4xf32>, %b: tensor<4xf32>) -> tensor<4xf32>
      attributes {mesh_shape = #sdy.mesh<["devices"=1]>} {
    return %b : tensor<4xf32>
  }
}
