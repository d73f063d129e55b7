// RUN: atoll-opt %s --passes "verify-placed" --verify-diagnostics --split-input-file

// What can be wrong in a module whose fragments, transfers and exchanges are placed.

// expected-error @below {{the module has no topology}}
module {
  func.func @main() {
    return
  }
}

// -----

module attributes {atoll.topology = "2 x cpu[1]"} {
  // expected-error @below {{the topology of @main is not the module's; run make-fragments}}
  func.func @main() {
    return
  }
}

// -----

#islands = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>
module attributes {atoll.topology = "2 x cpu[4]"} {
  // expected-error @below {{the topology of @main is not the module's}}
  func.func @main() attributes {topology = #islands} {
    return
  }
}

// -----

#islands = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>
module attributes {atoll.topology = "2 x cpu[1]"} {
  func.func @main() attributes {topology = #islands} {
    // expected-error @below {{stablehlo.constant stands in @main, outside of every fragment; run make-fragments}}
    %0 = stablehlo.constant dense<1.0> : tensor<4xf32>
    return
  }
}

// -----

!on0 = !mpmd.mesh_tensor<"island0", tensor<4xf32>>
#islands = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>
module attributes {atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: !on0) -> !on0 attributes {topology = #islands} {
    // expected-error @below {{a fragment has no stage or no sweep; add atoll.stage and atoll.sweep}}
    %0 = mpmd.fragment<mesh="island0", origin=["F0"]> (%x) {atoll.stage = 0 : i32} (%a: tensor<4xf32>) {
      %n = stablehlo.negate %a : tensor<4xf32>
      mpmd.return %n : tensor<4xf32>
    } : (!on0) -> !on0
    return %0 : !on0
  }
}

// -----

!on0 = !mpmd.mesh_tensor<"island0", tensor<4xf32>>
!on1 = !mpmd.mesh_tensor<"island1", tensor<4xf32>>
#islands = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>
module attributes {atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: !on0) -> (!on1, !on1) attributes {topology = #islands} {
    %0 = mpmd.transfer %x : (!on0) -> !on1
    // expected-error @below {{a value is sent to island1, where it is already; use it there}}
    %1 = mpmd.transfer %x : (!on0) -> !on1
    return %0, %1 : !on1, !on1
  }
}

// -----

// Neither may a value come back.
!on0 = !mpmd.mesh_tensor<"island0", tensor<4xf32>>
!on1 = !mpmd.mesh_tensor<"island1", tensor<4xf32>>
#islands = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>
module attributes {atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: !on0) -> !on0 attributes {topology = #islands} {
    %0 = mpmd.transfer %x : (!on0) -> !on1
    // expected-error @below {{a value is sent to island0, where it is already}}
    %1 = mpmd.transfer %0 : (!on1) -> !on0
    return %1 : !on0
  }
}

// -----

// Nor reach an island by two ways.
!on0 = !mpmd.mesh_tensor<"island0", tensor<4xf32>>
!on1 = !mpmd.mesh_tensor<"island1", tensor<4xf32>>
!on2 = !mpmd.mesh_tensor<"island2", tensor<4xf32>>
#islands = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>, <"island2" : <["devices"=1]>>>
module attributes {atoll.topology = "3 x cpu[1]"} {
  func.func @main(%x: !on0) -> (!on2, !on2) attributes {topology = #islands} {
    %0 = mpmd.transfer %x : (!on0) -> !on1
    %1 = mpmd.transfer %x : (!on0) -> !on2
    // expected-error @below {{a value is sent to island2, where it is already}}
    %2 = mpmd.transfer %0 : (!on1) -> !on2
    return %1, %2 : !on2, !on2
  }
}

// -----

!on0 = !mpmd.mesh_tensor<"island0", tensor<4xf32>>
#islands = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>
module attributes {atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: !on0) -> !on0 attributes {topology = #islands} {
    %0 = mpmd.fragment<mesh="island0", origin=["F0"]> (%x) {atoll.stage = 0 : i32, atoll.sweep = 0 : i32}
        (%a: tensor<4xf32>) {
      %n = stablehlo.negate %a : tensor<4xf32>
      mpmd.return %n : tensor<4xf32>
    } : (!on0) -> !on0
    // expected-error @below {{the name F0 is taken; give each fragment its own}}
    %1 = mpmd.fragment<mesh="island0", origin=["F0"]> (%0) {atoll.stage = 0 : i32, atoll.sweep = 0 : i32}
        (%a: tensor<4xf32>) {
      %n = stablehlo.negate %a : tensor<4xf32>
      mpmd.return %n : tensor<4xf32>
    } : (!on0) -> !on0
    return %1 : !on0
  }
}

// -----

!on0 = !mpmd.mesh_tensor<"island0", tensor<4xf32>>
#islands = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>
module attributes {atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: !on0) -> !on0 attributes {topology = #islands} {
    // expected-error @below {{a fragment has 0 names; write origin=["F0"]}}
    %0 = mpmd.fragment<mesh="island0", origin=[]> (%x) {atoll.stage = 0 : i32, atoll.sweep = 0 : i32}
        (%a: tensor<4xf32>) {
      mpmd.return %a : tensor<4xf32>
    } : (!on0) -> !on0
    return %0 : !on0
  }
}

// -----

!on0 = !mpmd.mesh_tensor<"island0", tensor<4xf32>>
#islands = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>
module attributes {atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: !on0) -> !on0 attributes {topology = #islands} {
    // expected-error @below {{a loop does more than to call the function of a microbatch; run make-fragments}}
    %0 = mpmd.for (%x) {atoll.role = "F", iterations = 3 : ui32} (%a: !on0, %i: tensor<ui32>) {
      mpmd.return %a : !on0
    } : !on0
    return %0 : !on0
  }
  func.func private @microbatch(%a: !on0) -> !on0 attributes {topology = #islands} {
    return %a : !on0
  }
}

// -----

!on0 = !mpmd.mesh_tensor<"island0", tensor<4xf32>>
#islands = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>
module attributes {atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: !on0) -> !on0 attributes {topology = #islands} {
    return %x : !on0
  }
  // expected-error @below {{the topology of @microbatch is not the module's; run make-fragments}}
  func.func private @microbatch(%a: !mpmd.mesh_tensor<"other", tensor<4xf32>>)
      attributes {topology = #mpmd.topology<<"other" : <["devices"=1]>>>} {
    return
  }
}

// -----

!on0 = !mpmd.mesh_tensor<"island0", tensor<f32>>
#islands = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>
module attributes {atoll.plan = "replicas=2", atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: !on0 {atoll.path = "x"}) -> (!on0 {atoll.path = "y"}) attributes {topology = #islands} {
    // expected-error @below {{result 0 of a loop is a sum of one replica, and func.return takes it; let one mpmd.transfer with atoll.exchange take it, and all else take what that makes}}
    %0 = mpmd.for (%x) {atoll.order = {island0 = "F0@0"}, atoll.role = "F", iterations = 2 : ui32}
        (%s: !on0, %i: tensor<ui32>) {
      %1 = mpmd.call @microbatch(%s) : (!on0) -> !on0
      mpmd.return %1 : !on0
    } : !on0
    return %0 : !on0
  }
  func.func private @microbatch(%s: !on0) -> !on0 attributes {topology = #islands} {
    %0 = mpmd.fragment<mesh="island0", origin=["F0"]> (%s) {atoll.stage = 0 : i32, atoll.sweep = 0 : i32}
        (%a: tensor<f32>) {
      mpmd.return %a : tensor<f32>
    } : (!on0) -> !on0
    return %0 : !on0
  }
}

// -----

!on0 = !mpmd.mesh_tensor<"island0", tensor<f32>>
#islands = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>
module attributes {atoll.plan = "replicas=2", atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: !on0 {atoll.path = "x"}) -> (!on0 {atoll.path = "y"}) attributes {topology = #islands} {
    %0 = mpmd.for (%x) {atoll.order = {island0 = "F0@0"}, atoll.role = "F", iterations = 2 : ui32}
        (%s: !on0, %i: tensor<ui32>) {
      %1 = mpmd.call @microbatch(%s) : (!on0) -> !on0
      mpmd.return %1 : !on0
    } : !on0
    // expected-error @below {{an exchange takes what is no sum of a loop, nor made by a task; take the exchange out of @main}}
    %2 = mpmd.transfer {atoll.exchange = "add"} %x : (!on0) -> !on0
    return %2 : !on0
  }
  func.func private @microbatch(%s: !on0) -> !on0 attributes {topology = #islands} {
    %0 = mpmd.fragment<mesh="island0", origin=["F0"]> (%s) {atoll.stage = 0 : i32, atoll.sweep = 0 : i32}
        (%a: tensor<f32>) {
      mpmd.return %a : tensor<f32>
    } : (!on0) -> !on0
    return %0 : !on0
  }
}

// -----

!on0 = !mpmd.mesh_tensor<"island0", tensor<f32>>
#islands = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>
module attributes {atoll.plan = "replicas=1, microbatches=2", atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: !on0 {atoll.path = "x"}) -> (!on0 {atoll.path = "y"}) attributes {topology = #islands} {
    %0 = mpmd.for (%x) {atoll.order = {island0 = "F0@0 F1@0"}, atoll.role = "F", iterations = 2 : ui32}
        (%s: !on0, %i: tensor<ui32>) {
      %1 = mpmd.call @microbatch(%s) : (!on0) -> !on0
      mpmd.return %1 : !on0
    } : !on0
    // expected-error @below {{there is but one replica; take the exchange out of @main}}
    %2 = mpmd.transfer {atoll.exchange = "add"} %0 : (!on0) -> !on0
    return %2 : !on0
  }
  func.func private @microbatch(%s: !on0) -> !on0 attributes {topology = #islands} {
    %0 = mpmd.fragment<mesh="island0", origin=["F0"]> (%s) {atoll.stage = 0 : i32, atoll.sweep = 0 : i32}
        (%a: tensor<f32>) {
      mpmd.return %a : tensor<f32>
    } : (!on0) -> !on0
    return %0 : !on0
  }
}

// -----

!on0 = !mpmd.mesh_tensor<"island0", tensor<f32>>
#islands = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>
module attributes {atoll.plan = "replicas=2", atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: !on0 {atoll.path = "x"}) -> (!on0 {atoll.path = "y"}) attributes {topology = #islands} {
    %0 = mpmd.for (%x) {atoll.order = {island0 = "F0@0"}, atoll.role = "F", iterations = 2 : ui32}
        (%s: !on0, %i: tensor<ui32>) {
      %1 = mpmd.call @microbatch(%s) : (!on0) -> !on0
      mpmd.return %1 : !on0
    } : !on0
    // expected-error @below {{atoll.exchange is "mean"; write one of add, max, min, and, or, share, gather}}
    %2 = mpmd.transfer {atoll.exchange = "mean"} %0 : (!on0) -> !on0
    return %2 : !on0
  }
  func.func private @microbatch(%s: !on0) -> !on0 attributes {topology = #islands} {
    %0 = mpmd.fragment<mesh="island0", origin=["F0"]> (%s) {atoll.stage = 0 : i32, atoll.sweep = 0 : i32}
        (%a: tensor<f32>) {
      mpmd.return %a : tensor<f32>
    } : (!on0) -> !on0
    return %0 : !on0
  }
}

// -----

!on0 = !mpmd.mesh_tensor<"island0", tensor<f32>>
!on1 = !mpmd.mesh_tensor<"island1", tensor<f32>>
#islands = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>
module attributes {atoll.plan = "replicas=2", atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: !on0 {atoll.path = "x"}) -> (!on1 {atoll.path = "y"}) attributes {topology = #islands} {
    %0 = mpmd.for (%x) {atoll.order = {island0 = "F0@0"}, atoll.role = "F", iterations = 2 : ui32}
        (%s: !on0, %i: tensor<ui32>) {
      %1 = mpmd.call @microbatch(%s) : (!on0) -> !on0
      mpmd.return %1 : !on0
    } : !on0
    // expected-error @below {{an exchange makes !mpmd.mesh_tensor<"island1", tensor<f32>> of !mpmd.mesh_tensor<"island0", tensor<f32>>; let it stay where it is, as it is}}
    %2 = mpmd.transfer {atoll.exchange = "add"} %0 : (!on0) -> !on1
    return %2 : !on1
  }
  func.func private @microbatch(%s: !on0) -> !on0 attributes {topology = #islands} {
    %0 = mpmd.fragment<mesh="island0", origin=["F0"]> (%s) {atoll.stage = 0 : i32, atoll.sweep = 0 : i32}
        (%a: tensor<f32>) {
      mpmd.return %a : tensor<f32>
    } : (!on0) -> !on0
    return %0 : !on0
  }
}

// -----

// A cast is an exchange if it is marked as one.
!on0_4xf32 = !mpmd.mesh_tensor<"island0", tensor<4xf32>>
!on0_2xf32 = !mpmd.mesh_tensor<"island0", tensor<2xf32>>
#islands = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>
module attributes {atoll.plan = "replicas=2", atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: !on0_4xf32 {atoll.path = "x"})
      -> (!on0_2xf32 {atoll.path = "y", atoll.share = 0 : i32}) attributes {topology = #islands} {
    // expected-error @below {{builtin.unrealized_conversion_cast stands in @main, outside of every fragment; run make-fragments}}
    %y = builtin.unrealized_conversion_cast %x : !on0_4xf32 to !on0_2xf32
    return %y : !on0_2xf32
  }
}

// -----

!on0_4xf32 = !mpmd.mesh_tensor<"island0", tensor<4xf32>>
!on0_2xf32 = !mpmd.mesh_tensor<"island0", tensor<2xf32>>
#islands = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>
module attributes {atoll.plan = "replicas=2", atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: !on0_4xf32 {atoll.path = "x"})
      -> (!on0_2xf32 {atoll.path = "y", atoll.share = 0 : i32}) attributes {topology = #islands} {
    // expected-error @below {{atoll.exchange is "share" without atoll.share; write atoll.share = DIMENSION : i32}}
    %y = builtin.unrealized_conversion_cast %x : !on0_4xf32 to !on0_2xf32 {atoll.exchange = "share"}
    return %y : !on0_2xf32
  }
}

// -----

!on0_4xf32 = !mpmd.mesh_tensor<"island0", tensor<4xf32>>
!on0_2xf32 = !mpmd.mesh_tensor<"island0", tensor<2xf32>>
#islands = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>
module attributes {atoll.plan = "replicas=2", atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: !on0_4xf32 {atoll.path = "x"})
      -> (!on0_2xf32 {atoll.path = "y", atoll.share = 0 : i32}) attributes {topology = #islands} {
    // expected-error @below {{atoll.share is "rows"; write atoll.share = DIMENSION : i32}}
    %y = builtin.unrealized_conversion_cast %x : !on0_4xf32 to !on0_2xf32
        {atoll.exchange = "share", atoll.share = "rows"}
    return %y : !on0_2xf32
  }
}

// -----

!on0_4xf32 = !mpmd.mesh_tensor<"island0", tensor<4xf32>>
!on0_2xf32 = !mpmd.mesh_tensor<"island0", tensor<2xf32>>
#islands = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>
module attributes {atoll.plan = "replicas=2", atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: !on0_4xf32 {atoll.path = "x"})
      -> (!on0_2xf32 {atoll.path = "y", atoll.share = 0 : i32}) attributes {topology = #islands} {
    // expected-error @below {{an exchange takes what is no sum of a loop, nor made by a task; take the exchange out of @main}}
    %y = builtin.unrealized_conversion_cast %x : !on0_4xf32 to !on0_2xf32
        {atoll.exchange = "add", atoll.share = 0 : i32}
    return %y : !on0_2xf32
  }
}

// -----

!on0_4xf32 = !mpmd.mesh_tensor<"island0", tensor<4xf32>>
!on0_2xf32 = !mpmd.mesh_tensor<"island0", tensor<2xf32>>
#islands = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>
module attributes {atoll.plan = "replicas=2", atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: !on0_4xf32 {atoll.path = "x"})
      -> (!on0_2xf32 {atoll.path = "y", atoll.share = 0 : i32}) attributes {topology = #islands} {
    // expected-error @below {{an exchange has 1 operands and 2 results; write one of each}}
    %y:2 = builtin.unrealized_conversion_cast %x : !on0_4xf32 to !on0_2xf32, !on0_2xf32
        {atoll.exchange = "share", atoll.share = 0 : i32}
    return %y#0 : !on0_2xf32
  }
}

// -----

!on0_4xf32 = !mpmd.mesh_tensor<"island0", tensor<4xf32>>
!on0_2xf32 = !mpmd.mesh_tensor<"island0", tensor<2xf32>>
#islands = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>
module attributes {atoll.plan = "replicas=2", atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: !on0_4xf32 {atoll.path = "x", atoll.share = 0 : i32})
      -> (!on0_2xf32 {atoll.path = "y", atoll.share = 0 : i32}) attributes {topology = #islands} {
    // expected-error @below {{a share is taken of what is a share already; take it of what all replicas have}}
    %y = builtin.unrealized_conversion_cast %x : !on0_4xf32 to !on0_2xf32
        {atoll.exchange = "share", atoll.share = 0 : i32}
    return %y : !on0_2xf32
  }
}

// -----

!on0_4x2xf32 = !mpmd.mesh_tensor<"island0", tensor<4x2xf32>>
!on0_4x4xf32 = !mpmd.mesh_tensor<"island0", tensor<4x4xf32>>
#islands = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>
module attributes {atoll.plan = "replicas=2", atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: !on0_4x2xf32 {atoll.path = "x", atoll.share = 0 : i32})
      -> (!on0_4x4xf32 {atoll.path = "y"}) attributes {topology = #islands} {
    // expected-error @below {{shares along dimension 0 are joined along dimension 1; write atoll.share = 0 : i32}}
    %y = builtin.unrealized_conversion_cast %x : !on0_4x2xf32 to !on0_4x4xf32
        {atoll.exchange = "gather", atoll.share = 1 : i32}
    return %y : !on0_4x4xf32
  }
}

// -----

!on0_4xf32 = !mpmd.mesh_tensor<"island0", tensor<4xf32>>
!on0_2xf32 = !mpmd.mesh_tensor<"island0", tensor<2xf32>>
#islands = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>
module attributes {atoll.plan = "replicas=2", atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: !on0_4xf32 {atoll.path = "x"})
      -> (!on0_2xf32 {atoll.path = "y", atoll.share = 0 : i32}) attributes {topology = #islands} {
    // expected-error @below {{shares along dimension 1 are tensor<2xf32>; name a dimension that they have}}
    %y = builtin.unrealized_conversion_cast %x : !on0_4xf32 to !on0_2xf32
        {atoll.exchange = "share", atoll.share = 1 : i32}
    return %y : !on0_2xf32
  }
}

// -----

!on0_4xf32 = !mpmd.mesh_tensor<"island0", tensor<4xf32>>
!on0_3xf32 = !mpmd.mesh_tensor<"island0", tensor<3xf32>>
#islands = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>
module attributes {atoll.plan = "replicas=2", atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: !on0_4xf32 {atoll.path = "x"})
      -> (!on0_3xf32 {atoll.path = "y", atoll.share = 0 : i32}) attributes {topology = #islands} {
    // expected-error @below {{2 shares along dimension 0, each tensor<3xf32>, are not tensor<4xf32>; let a share be 1/2 of the whole}}
    %y = builtin.unrealized_conversion_cast %x : !on0_4xf32 to !on0_3xf32
        {atoll.exchange = "share", atoll.share = 0 : i32}
    return %y : !on0_3xf32
  }
}

// -----

!on0 = !mpmd.mesh_tensor<"island0", tensor<4xf32>>
!on1 = !mpmd.mesh_tensor<"island1", tensor<2xf32>>
#islands = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>
module attributes {atoll.plan = "replicas=2", atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: !on0 {atoll.path = "x"})
      -> (!on1 {atoll.path = "y", atoll.share = 0 : i32}) attributes {topology = #islands} {
    // expected-error @below {{an exchange makes !mpmd.mesh_tensor<"island1", tensor<2xf32>> of !mpmd.mesh_tensor<"island0", tensor<4xf32>>; let it stay where it is}}
    %y = builtin.unrealized_conversion_cast %x : !on0 to !on1 {atoll.exchange = "share", atoll.share = 0 : i32}
    return %y : !on1
  }
}

// -----

!on0_4xf32 = !mpmd.mesh_tensor<"island0", tensor<4xf32>>
!on0_2xf32 = !mpmd.mesh_tensor<"island0", tensor<2xf32>>
#islands = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>
module attributes {atoll.plan = "replicas=2", atoll.topology = "2 x cpu[1]"} {
  // expected-error @below {{result 0 of @main is a share along dimension 0, and is not marked as one; add atoll.share = 0 : i32 to it, or return the whole}}
  func.func @main(%x: !on0_4xf32 {atoll.path = "x"})
      -> (!on0_2xf32 {atoll.path = "y"}) attributes {topology = #islands} {
    %y = builtin.unrealized_conversion_cast %x : !on0_4xf32 to !on0_2xf32
        {atoll.exchange = "share", atoll.share = 0 : i32}
    return %y : !on0_2xf32
  }
}

// -----

!on0_4xf32 = !mpmd.mesh_tensor<"island0", tensor<4xf32>>
!on0_2xf32 = !mpmd.mesh_tensor<"island0", tensor<2xf32>>
#islands = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>
module attributes {atoll.plan = "replicas=2", atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: !on0_4xf32 {atoll.path = "x"})
      -> (!on0_2xf32 {atoll.path = "y", atoll.share = 0 : i32}) attributes {topology = #islands} {
    %0 = mpmd.for (%x) {atoll.order = {island0 = "F0@0"}, atoll.role = "F", iterations = 2 : ui32}
        (%s: !on0_4xf32, %i: tensor<ui32>) {
      %1 = mpmd.call @microbatch(%s) : (!on0_4xf32) -> !on0_4xf32
      mpmd.return %1 : !on0_4xf32
    } : !on0_4xf32
    // expected-error @below {{a share is taken of what is a sum of one replica; take it of what all replicas have}}
    %y = builtin.unrealized_conversion_cast %0 : !on0_4xf32 to !on0_2xf32
        {atoll.exchange = "share", atoll.share = 0 : i32}
    return %y : !on0_2xf32
  }
  func.func private @microbatch(%s: !on0_4xf32) -> !on0_4xf32 attributes {topology = #islands} {
    %0 = mpmd.fragment<mesh="island0", origin=["F0"]> (%s) {atoll.stage = 0 : i32, atoll.sweep = 0 : i32}
        (%a: tensor<4xf32>) {
      mpmd.return %a : tensor<4xf32>
    } : (!on0_4xf32) -> !on0_4xf32
    return %0 : !on0_4xf32
  }
}

// -----

!on0 = !mpmd.mesh_tensor<"island0", tensor<4xf32>>
#islands = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>
module attributes {atoll.plan = "replicas=2", atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: !on0 {atoll.path = "x"}) -> (!on0 {atoll.path = "y"}) attributes {topology = #islands} {
    %0 = mpmd.for (%x) {atoll.order = {island0 = "F0@0"}, atoll.role = "F", iterations = 2 : ui32}
        (%s: !on0, %i: tensor<ui32>) {
      %1 = mpmd.call @microbatch(%s) : (!on0) -> !on0
      mpmd.return %1 : !on0
    } : !on0
    %2 = mpmd.transfer {atoll.exchange = "add"} %0 : (!on0) -> !on0
    return %2 : !on0
  }
  func.func private @microbatch(%s: !on0) -> !on0 attributes {topology = #islands} {
    %0 = mpmd.fragment<mesh="island0", origin=["F0"]> (%s) {atoll.stage = 0 : i32, atoll.sweep = 0 : i32}
        (%a: tensor<4xf32>) {
      mpmd.return %a : tensor<4xf32>
    } : (!on0) -> !on0
    // expected-error @below {{replicas exchange in a loop; take the exchange out of @microbatch}}
    %1 = mpmd.transfer {atoll.exchange = "add"} %0 : (!on0) -> !on0
    return %1 : !on0
  }
}

// -----

!on0 = !mpmd.mesh_tensor<"island0", tensor<4xf32>>
#islands = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>
module attributes {atoll.plan = "replicas=2", atoll.topology = "2 x cpu[1]"} {
  // expected-error @below {{atoll.share of argument 0 of @main, which is tensor<4xf32>, is 1 : i32; write atoll.share = DIMENSION : i32, a dimension that it has}}
  func.func @main(%x: !on0 {atoll.path = "x", atoll.share = 1 : i32})
      -> (!on0 {atoll.path = "y", atoll.share = 1 : i32}) attributes {topology = #islands} {
    return %x : !on0
  }
}

// -----

!on0 = !mpmd.mesh_tensor<"island0", tensor<4xf32>>
#islands = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>
module attributes {atoll.plan = "replicas=2", atoll.topology = "2 x cpu[1]"} {
  // expected-error @below {{atoll.share of argument 0 of @main, which is tensor<4xf32>, is "rows"; write atoll.share = DIMENSION : i32, a dimension that it has}}
  func.func @main(%x: !on0 {atoll.path = "x", atoll.share = "rows"})
      -> (!on0 {atoll.path = "y", atoll.share = "rows"}) attributes {topology = #islands} {
    return %x : !on0
  }
}

// -----

!on0 = !mpmd.mesh_tensor<"island0", tensor<4xf32>>
#islands = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>
module attributes {atoll.plan = "replicas=2", atoll.topology = "2 x cpu[1]"} {
  // expected-error @below {{argument 0 of @main has both atoll.parts and atoll.share; take one of them away}}
  func.func @main(%x: !on0 {atoll.path = "x", atoll.parts = 2 : i32, atoll.share = 0 : i32})
      -> (!on0 {atoll.path = "y", atoll.parts = 2 : i32, atoll.share = 0 : i32}) attributes {topology = #islands} {
    return %x : !on0
  }
}

// -----

!on0 = !mpmd.mesh_tensor<"island0", tensor<4xf32>>
#islands = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>
module attributes {atoll.plan = "replicas=1", atoll.topology = "2 x cpu[1]"} {
  // expected-error @below {{argument 0 of @main is a share, and there is but one replica; take atoll.share away}}
  func.func @main(%x: !on0 {atoll.path = "x", atoll.share = 0 : i32})
      -> (!on0 {atoll.path = "y", atoll.share = 0 : i32}) attributes {topology = #islands} {
    return %x : !on0
  }
}

// -----

// Both shares of a piece are the piece.
!on0 = !mpmd.mesh_tensor<"island0", tensor<4xf32>>
#islands = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>
module attributes {atoll.plan = "replicas=2", atoll.topology = "2 x cpu[1]"} {
  // expected-error @below {{arguments 0 of @main, pieces of x, are 0..8 of 4 along dimension 0; let each begin where the one before ends, up to 4}}
  func.func @main(%x: !on0 {atoll.path = "x", atoll.piece = array<i64: 0, 0, 4>, atoll.share = 0 : i32})
      -> (!on0 {atoll.path = "y", atoll.piece = array<i64: 0, 0, 4>, atoll.share = 0 : i32})
      attributes {topology = #islands} {
    return %x : !on0
  }
}

// -----

!on0 = !mpmd.mesh_tensor<"island0", tensor<4xf32>>
#islands = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>
module attributes {atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: !on0 {atoll.path = "x"}) -> (!on0 {atoll.path = "y"}) attributes {topology = #islands} {
    // expected-error @below {{there is no function @microbatch with a topology; run make-fragments}}
    %0 = mpmd.for (%x) {atoll.role = "F", iterations = 3 : ui32} (%a: !on0, %i: tensor<ui32>) {
      %1 = mpmd.call @microbatch(%a) : (!on0) -> !on0
      mpmd.return %1 : !on0
    } : !on0
    return %0 : !on0
  }
  func.func private @microbatch(%a: !on0) -> !on0 {
    return %a : !on0
  }
}

// -----

!on0 = !mpmd.mesh_tensor<"island0", tensor<4xf32>>
#islands = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>
module attributes {atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: !on0)
      -> !on0
      attributes {topology = #islands} {
    // expected-error @below {{a fragment is called 'second', which says no stage and what it does for it; write for example F0, or L0.F0 in the first of several loops}}
    %0 = mpmd.fragment<mesh="island0", origin=["second"]> (%x) {atoll.stage = 0 : i32, atoll.sweep = 0 : i32}
        (%a: tensor<4xf32>) {
      mpmd.return %a : tensor<4xf32>
    } : (!on0) -> !on0
    return %0 : !on0
  }
}

// -----

!on0 = !mpmd.mesh_tensor<"island0", tensor<4xf32>>
#islands = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>
module attributes {atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: !on0)
      -> !on0
      attributes {topology = #islands} {
    // expected-error @below {{a fragment is called 'F3@0', which says no stage and what it does for it; write for example F0, or L0.F0 in the first of several loops}}
    %0 = mpmd.fragment<mesh="island0", origin=["F3@0"]> (%x) {atoll.stage = 0 : i32, atoll.sweep = 0 : i32}
        (%a: tensor<4xf32>) {
      mpmd.return %a : tensor<4xf32>
    } : (!on0) -> !on0
    return %0 : !on0
  }
}

// -----

!on0 = !mpmd.mesh_tensor<"island0", tensor<4xf32>>
#islands = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>
module attributes {atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: !on0)
      -> !on0
      attributes {topology = #islands} {
    // expected-error @below {{a fragment is called 'X0.add', which says no stage and what it does for it; write for example F0, or L0.F0 in the first of several loops}}
    %0 = mpmd.fragment<mesh="island0", origin=["X0.add"]> (%x) {atoll.stage = 0 : i32, atoll.sweep = 0 : i32}
        (%a: tensor<4xf32>) {
      mpmd.return %a : tensor<4xf32>
    } : (!on0) -> !on0
    return %0 : !on0
  }
}

// -----

!on0 = !mpmd.mesh_tensor<"island0", tensor<4xf32>>
#islands = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>
module attributes {atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: !on0)
      -> !on0
      attributes {topology = #islands} {
    // expected-error @below {{U1.1 is of stage 0; call it U0.1}}
    %0 = mpmd.fragment<mesh="island0", origin=["U1.1"]> (%x) {atoll.stage = 0 : i32, atoll.sweep = 0 : i32}
        (%a: tensor<4xf32>) {
      mpmd.return %a : tensor<4xf32>
    } : (!on0) -> !on0
    return %0 : !on0
  }
}

// -----

!on0 = !mpmd.mesh_tensor<"island0", tensor<4xf32>>
#islands = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>
module attributes {atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: !on0)
      -> !on0
      attributes {topology = #islands} {
    %0 = mpmd.for (%x) {atoll.role = "F", iterations = 2 : ui32}
        (%s: !on0, %i: tensor<ui32>) {
      %1 = mpmd.call @microbatch(%s) : (!on0)
          -> !on0
      mpmd.return %1 : !on0
    } : !on0
    return %0 : !on0
  }
  func.func private @microbatch(%s: !on0)
      -> !on0
      attributes {topology = #islands} {
    // expected-error @below {{L0.F0 stands in the last loop; call it F0}}
    %0 = mpmd.fragment<mesh="island0", origin=["L0.F0"]> (%s) {atoll.stage = 0 : i32, atoll.sweep = 0 : i32}
        (%a: tensor<4xf32>) {
      mpmd.return %a : tensor<4xf32>
    } : (!on0) -> !on0
    return %0 : !on0
  }
}

// -----

!on0 = !mpmd.mesh_tensor<"island0", tensor<4xf32>>
#islands = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>
module attributes {atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: !on0)
      -> !on0
      attributes {topology = #islands} {
    %0 = mpmd.for (%x) {atoll.role = "F", iterations = 2 : ui32}
        (%s: !on0, %i: tensor<ui32>) {
      %1 = mpmd.call @microbatch(%s) : (!on0)
          -> !on0
      mpmd.return %1 : !on0
    } : !on0
    return %0 : !on0
  }
  func.func private @microbatch(%s: !on0)
      -> !on0
      attributes {topology = #islands} {
    // expected-error @below {{B0 stands in a loop with atoll.role = "F"; take a letter of that, or add B to it}}
    %0 = mpmd.fragment<mesh="island0", origin=["B0"]> (%s) {atoll.stage = 0 : i32, atoll.sweep = 0 : i32}
        (%a: tensor<4xf32>) {
      mpmd.return %a : tensor<4xf32>
    } : (!on0) -> !on0
    return %0 : !on0
  }
}

// -----

!on0 = !mpmd.mesh_tensor<"island0", tensor<4xf32>>
#islands = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>
module attributes {atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: !on0)
      -> !on0
      attributes {topology = #islands} {
    %0 = mpmd.for (%x) {atoll.role = "F", iterations = 2 : ui32}
        (%s: !on0, %i: tensor<ui32>) {
      %1 = mpmd.call @first(%s) : (!on0)
          -> !on0
      mpmd.return %1 : !on0
    } : !on0
    %2 = mpmd.for (%0) {atoll.role = "F", iterations = 2 : ui32}
        (%s: !on0, %i: tensor<ui32>) {
      %3 = mpmd.call @last(%s) : (!on0)
          -> !on0
      mpmd.return %3 : !on0
    } : !on0
    return %2 : !on0
  }
  func.func private @first(%s: !on0)
      -> !on0
      attributes {topology = #islands} {
    // expected-error @below {{F0 stands in loop 0; call it L0.F0}}
    %0 = mpmd.fragment<mesh="island0", origin=["F0"]> (%s) {atoll.stage = 0 : i32, atoll.sweep = 0 : i32}
        (%a: tensor<4xf32>) {
      mpmd.return %a : tensor<4xf32>
    } : (!on0) -> !on0
    return %0 : !on0
  }
  func.func private @last(%s: !on0)
      -> !on0
      attributes {topology = #islands} {
    return %s : !on0
  }
}

// -----

!on0 = !mpmd.mesh_tensor<"island0", tensor<4xf32>>
#islands = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>
module attributes {atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: !on0)
      -> !on0
      attributes {topology = #islands} {
    // expected-error @below {{a loop over microbatches has no atoll.role; run order-sweeps}}
    %0 = mpmd.for (%x) {iterations = 2 : ui32} (%s: !on0, %i: tensor<ui32>) {
      %1 = mpmd.call @microbatch(%s) : (!on0)
          -> !on0
      mpmd.return %1 : !on0
    } : !on0
    return %0 : !on0
  }
  func.func private @microbatch(%s: !on0)
      -> !on0
      attributes {topology = #islands} {
    return %s : !on0
  }
}

// -----

module attributes {atoll.topology = "1 x cpu[1]"} {
  func.func @main() attributes {topology = #mpmd.topology<<"island0" : <["devices"=1]>>>} {
    // expected-error @below {{atoll.index is left on stablehlo.constant, which nothing reads from here on; run the passes that lead to phase placed, or take it away}}
    %0 = stablehlo.constant {atoll.index} dense<0> : tensor<ui32>
    return
  }
}

// -----

// expected-error @below {{atoll.topology is ["2 x cpu[1]"], which is no text; write atoll.topology = "..."}}
module attributes {atoll.topology = ["2 x cpu[1]"]} {
  func.func @main() {
    return
  }
}

// -----

// A sum of one replica may be added to another before both are exchanged, and nothing else.

!on0 = !mpmd.mesh_tensor<"island0", tensor<f32>>
#islands = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>
module attributes {atoll.plan = "replicas=2", atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: !on0 {atoll.path = "x"}) -> (!on0 {atoll.path = "y"}) attributes {topology = #islands} {
    // expected-error @below {{result 0 of a loop is a sum of one replica, and mpmd.fragment takes it}}
    %0 = mpmd.for (%x) {atoll.order = {island0 = "F0@0"}, atoll.role = "F", iterations = 2 : ui32}
        (%s: !on0, %i: tensor<ui32>) {
      %1 = mpmd.call @microbatch(%s) : (!on0) -> !on0
      mpmd.return %1 : !on0
    } : !on0
    %1 = mpmd.fragment<mesh="island0", origin=["U0"]> (%0) {atoll.stage = 0 : i32, atoll.sweep = 0 : i32}
        (%a: tensor<f32>) {
      %2 = stablehlo.multiply %a, %a : tensor<f32>
      mpmd.return %2 : tensor<f32>
    } : (!on0) -> !on0
    %3 = mpmd.transfer {atoll.exchange = "add"} %1 : (!on0) -> !on0
    return %3 : !on0
  }
  func.func private @microbatch(%s: !on0) -> !on0 attributes {topology = #islands} {
    %0 = mpmd.fragment<mesh="island0", origin=["F0"]> (%s) {atoll.stage = 0 : i32, atoll.sweep = 0 : i32}
        (%a: tensor<f32>) {
      mpmd.return %a : tensor<f32>
    } : (!on0) -> !on0
    return %0 : !on0
  }
}
