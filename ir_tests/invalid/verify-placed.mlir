// RUN: atoll-opt %s --passes "verify-placed" --verify-diagnostics --split-input-file


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

module attributes {atoll.topology = "2 x cpu[4]"} {
  // expected-error @below {{the topology of @main is not the module's}}
  func.func @main() attributes {topology = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>} {
    return
  }
}

// -----

module attributes {atoll.topology = "2 x cpu[1]"} {
  func.func @main() attributes {topology = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>} {
    // expected-error @below {{stablehlo.constant stands in @main, outside of every fragment; run make-fragments}}
    %0 = stablehlo.constant dense<1.0> : tensor<4xf32>
    return
  }
}

// -----

module attributes {atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: !mpmd.mesh_tensor<"island0", tensor<4xf32>>) -> !mpmd.mesh_tensor<"island0", tensor<4xf32>> attributes {topology = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>} {
    // expected-error @below {{a fragment has no stage or no sweep; add atoll.stage and atoll.sweep}}
    %0 = mpmd.fragment<mesh="island0", origin=["F0"]> (%x) {atoll.stage = 0 : i32} (%a: tensor<4xf32>) {
      %n = stablehlo.negate %a : tensor<4xf32>
      mpmd.return %n : tensor<4xf32>
    } : (!mpmd.mesh_tensor<"island0", tensor<4xf32>>) -> !mpmd.mesh_tensor<"island0", tensor<4xf32>>
    return %0 : !mpmd.mesh_tensor<"island0", tensor<4xf32>>
  }
}

// -----

module attributes {atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: !mpmd.mesh_tensor<"island0", tensor<4xf32>>) -> (!mpmd.mesh_tensor<"island1", tensor<4xf32>>, !mpmd.mesh_tensor<"island1", tensor<4xf32>>) attributes {topology = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>} {
    %0 = mpmd.transfer %x : (!mpmd.mesh_tensor<"island0", tensor<4xf32>>) -> !mpmd.mesh_tensor<"island1", tensor<4xf32>>
    // expected-error @below {{a value is sent to island1, where it is already; use it there}}
    %1 = mpmd.transfer %x : (!mpmd.mesh_tensor<"island0", tensor<4xf32>>) -> !mpmd.mesh_tensor<"island1", tensor<4xf32>>
    return %0, %1 : !mpmd.mesh_tensor<"island1", tensor<4xf32>>, !mpmd.mesh_tensor<"island1", tensor<4xf32>>
  }
}

// -----

// Neither may a value come back.
module attributes {atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: !mpmd.mesh_tensor<"island0", tensor<4xf32>>) -> !mpmd.mesh_tensor<"island0", tensor<4xf32>> attributes {topology = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>} {
    %0 = mpmd.transfer %x : (!mpmd.mesh_tensor<"island0", tensor<4xf32>>) -> !mpmd.mesh_tensor<"island1", tensor<4xf32>>
    // expected-error @below {{a value is sent to island0, where it is already}}
    %1 = mpmd.transfer %0 : (!mpmd.mesh_tensor<"island1", tensor<4xf32>>) -> !mpmd.mesh_tensor<"island0", tensor<4xf32>>
    return %1 : !mpmd.mesh_tensor<"island0", tensor<4xf32>>
  }
}

// -----

// Nor reach an island by two ways.
module attributes {atoll.topology = "3 x cpu[1]"} {
  func.func @main(%x: !mpmd.mesh_tensor<"island0", tensor<4xf32>>) -> (!mpmd.mesh_tensor<"island2", tensor<4xf32>>, !mpmd.mesh_tensor<"island2", tensor<4xf32>>) attributes {topology = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>, <"island2" : <["devices"=1]>>>} {
    %0 = mpmd.transfer %x : (!mpmd.mesh_tensor<"island0", tensor<4xf32>>) -> !mpmd.mesh_tensor<"island1", tensor<4xf32>>
    %1 = mpmd.transfer %x : (!mpmd.mesh_tensor<"island0", tensor<4xf32>>) -> !mpmd.mesh_tensor<"island2", tensor<4xf32>>
    // expected-error @below {{a value is sent to island2, where it is already}}
    %2 = mpmd.transfer %0 : (!mpmd.mesh_tensor<"island1", tensor<4xf32>>) -> !mpmd.mesh_tensor<"island2", tensor<4xf32>>
    return %1, %2 : !mpmd.mesh_tensor<"island2", tensor<4xf32>>, !mpmd.mesh_tensor<"island2", tensor<4xf32>>
  }
}

// -----

module attributes {atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: !mpmd.mesh_tensor<"island0", tensor<4xf32>>) -> !mpmd.mesh_tensor<"island0", tensor<4xf32>> attributes {topology = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>} {
    %0 = mpmd.fragment<mesh="island0", origin=["F0"]> (%x) {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} (%a: tensor<4xf32>) {
      %n = stablehlo.negate %a : tensor<4xf32>
      mpmd.return %n : tensor<4xf32>
    } : (!mpmd.mesh_tensor<"island0", tensor<4xf32>>) -> !mpmd.mesh_tensor<"island0", tensor<4xf32>>
    // expected-error @below {{the name F0 is taken; give each fragment its own}}
    %1 = mpmd.fragment<mesh="island0", origin=["F0"]> (%0) {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} (%a: tensor<4xf32>) {
      %n = stablehlo.negate %a : tensor<4xf32>
      mpmd.return %n : tensor<4xf32>
    } : (!mpmd.mesh_tensor<"island0", tensor<4xf32>>) -> !mpmd.mesh_tensor<"island0", tensor<4xf32>>
    return %1 : !mpmd.mesh_tensor<"island0", tensor<4xf32>>
  }
}

// -----

module attributes {atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: !mpmd.mesh_tensor<"island0", tensor<4xf32>>) -> !mpmd.mesh_tensor<"island0", tensor<4xf32>> attributes {topology = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>} {
    // expected-error @below {{a fragment has 0 names; write origin=["F0"]}}
    %0 = mpmd.fragment<mesh="island0", origin=[]> (%x) {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} (%a: tensor<4xf32>) {
      mpmd.return %a : tensor<4xf32>
    } : (!mpmd.mesh_tensor<"island0", tensor<4xf32>>) -> !mpmd.mesh_tensor<"island0", tensor<4xf32>>
    return %0 : !mpmd.mesh_tensor<"island0", tensor<4xf32>>
  }
}

// -----

module attributes {atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: !mpmd.mesh_tensor<"island0", tensor<4xf32>>) -> !mpmd.mesh_tensor<"island0", tensor<4xf32>> attributes {topology = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>} {
    // expected-error @below {{a loop does more than to call the function of a microbatch; run make-fragments}}
    %0 = mpmd.for (%x) {iterations = 3 : ui32} (%a: !mpmd.mesh_tensor<"island0", tensor<4xf32>>, %i: tensor<ui32>) {
      mpmd.return %a : !mpmd.mesh_tensor<"island0", tensor<4xf32>>
    } : !mpmd.mesh_tensor<"island0", tensor<4xf32>>
    return %0 : !mpmd.mesh_tensor<"island0", tensor<4xf32>>
  }
  func.func private @microbatch(%a: !mpmd.mesh_tensor<"island0", tensor<4xf32>>) -> !mpmd.mesh_tensor<"island0", tensor<4xf32>> attributes {topology = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>} {
    return %a : !mpmd.mesh_tensor<"island0", tensor<4xf32>>
  }
}

// -----

module attributes {atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: !mpmd.mesh_tensor<"island0", tensor<4xf32>>) -> !mpmd.mesh_tensor<"island0", tensor<4xf32>> attributes {topology = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>} {
    return %x : !mpmd.mesh_tensor<"island0", tensor<4xf32>>
  }
  // expected-error @below {{the topology of @microbatch is not the module's; run make-fragments}}
  func.func private @microbatch(%a: !mpmd.mesh_tensor<"other", tensor<4xf32>>) attributes {topology = #mpmd.topology<<"other" : <["devices"=1]>>>} {
    return
  }
}

// -----

module attributes {atoll.plan = "replicas=2", atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: !mpmd.mesh_tensor<"island0", tensor<f32>> {atoll.path = "x"}) -> (!mpmd.mesh_tensor<"island0", tensor<f32>> {atoll.path = "y"}) attributes {topology = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>} {
    // expected-error @below {{result 0 of a loop is a sum of one replica, and func.return takes it; let one mpmd.transfer with atoll.exchange take it, and all else take what that makes}}
    %0 = mpmd.for (%x) {atoll.order = {island0 = "F0@0"}, iterations = 2 : ui32} (%s: !mpmd.mesh_tensor<"island0", tensor<f32>>, %i: tensor<ui32>) {
      %1 = mpmd.call @microbatch(%s) : (!mpmd.mesh_tensor<"island0", tensor<f32>>) -> !mpmd.mesh_tensor<"island0", tensor<f32>>
      mpmd.return %1 : !mpmd.mesh_tensor<"island0", tensor<f32>>
    } : !mpmd.mesh_tensor<"island0", tensor<f32>>
    return %0 : !mpmd.mesh_tensor<"island0", tensor<f32>>
  }
  func.func private @microbatch(%s: !mpmd.mesh_tensor<"island0", tensor<f32>>) -> !mpmd.mesh_tensor<"island0", tensor<f32>> attributes {topology = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>} {
    %0 = mpmd.fragment<mesh="island0", origin=["F0"]> (%s) {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} (%a: tensor<f32>) {
      mpmd.return %a : tensor<f32>
    } : (!mpmd.mesh_tensor<"island0", tensor<f32>>) -> !mpmd.mesh_tensor<"island0", tensor<f32>>
    return %0 : !mpmd.mesh_tensor<"island0", tensor<f32>>
  }
}

// -----

module attributes {atoll.plan = "replicas=2", atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: !mpmd.mesh_tensor<"island0", tensor<f32>> {atoll.path = "x"}) -> (!mpmd.mesh_tensor<"island0", tensor<f32>> {atoll.path = "y"}) attributes {topology = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>} {
    %0 = mpmd.for (%x) {atoll.order = {island0 = "F0@0"}, iterations = 2 : ui32} (%s: !mpmd.mesh_tensor<"island0", tensor<f32>>, %i: tensor<ui32>) {
      %1 = mpmd.call @microbatch(%s) : (!mpmd.mesh_tensor<"island0", tensor<f32>>) -> !mpmd.mesh_tensor<"island0", tensor<f32>>
      mpmd.return %1 : !mpmd.mesh_tensor<"island0", tensor<f32>>
    } : !mpmd.mesh_tensor<"island0", tensor<f32>>
    // expected-error @below {{an exchange takes what is no sum of a loop, nor made by a task; take the exchange out of @main}}
    %2 = mpmd.transfer {atoll.exchange = "add"} %x : (!mpmd.mesh_tensor<"island0", tensor<f32>>) -> !mpmd.mesh_tensor<"island0", tensor<f32>>
    return %2 : !mpmd.mesh_tensor<"island0", tensor<f32>>
  }
  func.func private @microbatch(%s: !mpmd.mesh_tensor<"island0", tensor<f32>>) -> !mpmd.mesh_tensor<"island0", tensor<f32>> attributes {topology = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>} {
    %0 = mpmd.fragment<mesh="island0", origin=["F0"]> (%s) {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} (%a: tensor<f32>) {
      mpmd.return %a : tensor<f32>
    } : (!mpmd.mesh_tensor<"island0", tensor<f32>>) -> !mpmd.mesh_tensor<"island0", tensor<f32>>
    return %0 : !mpmd.mesh_tensor<"island0", tensor<f32>>
  }
}

// -----

module attributes {atoll.plan = "replicas=1, microbatches=2", atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: !mpmd.mesh_tensor<"island0", tensor<f32>> {atoll.path = "x"}) -> (!mpmd.mesh_tensor<"island0", tensor<f32>> {atoll.path = "y"}) attributes {topology = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>} {
    %0 = mpmd.for (%x) {atoll.order = {island0 = "F0@0 F1@0"}, iterations = 2 : ui32} (%s: !mpmd.mesh_tensor<"island0", tensor<f32>>, %i: tensor<ui32>) {
      %1 = mpmd.call @microbatch(%s) : (!mpmd.mesh_tensor<"island0", tensor<f32>>) -> !mpmd.mesh_tensor<"island0", tensor<f32>>
      mpmd.return %1 : !mpmd.mesh_tensor<"island0", tensor<f32>>
    } : !mpmd.mesh_tensor<"island0", tensor<f32>>
    // expected-error @below {{there is but one replica; take the exchange out of @main}}
    %2 = mpmd.transfer {atoll.exchange = "add"} %0 : (!mpmd.mesh_tensor<"island0", tensor<f32>>) -> !mpmd.mesh_tensor<"island0", tensor<f32>>
    return %2 : !mpmd.mesh_tensor<"island0", tensor<f32>>
  }
  func.func private @microbatch(%s: !mpmd.mesh_tensor<"island0", tensor<f32>>) -> !mpmd.mesh_tensor<"island0", tensor<f32>> attributes {topology = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>} {
    %0 = mpmd.fragment<mesh="island0", origin=["F0"]> (%s) {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} (%a: tensor<f32>) {
      mpmd.return %a : tensor<f32>
    } : (!mpmd.mesh_tensor<"island0", tensor<f32>>) -> !mpmd.mesh_tensor<"island0", tensor<f32>>
    return %0 : !mpmd.mesh_tensor<"island0", tensor<f32>>
  }
}

// -----

module attributes {atoll.plan = "replicas=2", atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: !mpmd.mesh_tensor<"island0", tensor<f32>> {atoll.path = "x"}) -> (!mpmd.mesh_tensor<"island0", tensor<f32>> {atoll.path = "y"}) attributes {topology = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>} {
    %0 = mpmd.for (%x) {atoll.order = {island0 = "F0@0"}, iterations = 2 : ui32} (%s: !mpmd.mesh_tensor<"island0", tensor<f32>>, %i: tensor<ui32>) {
      %1 = mpmd.call @microbatch(%s) : (!mpmd.mesh_tensor<"island0", tensor<f32>>) -> !mpmd.mesh_tensor<"island0", tensor<f32>>
      mpmd.return %1 : !mpmd.mesh_tensor<"island0", tensor<f32>>
    } : !mpmd.mesh_tensor<"island0", tensor<f32>>
    // expected-error @below {{atoll.exchange is "mean"; write one of add, max, min, and, or, share, gather}}
    %2 = mpmd.transfer {atoll.exchange = "mean"} %0 : (!mpmd.mesh_tensor<"island0", tensor<f32>>) -> !mpmd.mesh_tensor<"island0", tensor<f32>>
    return %2 : !mpmd.mesh_tensor<"island0", tensor<f32>>
  }
  func.func private @microbatch(%s: !mpmd.mesh_tensor<"island0", tensor<f32>>) -> !mpmd.mesh_tensor<"island0", tensor<f32>> attributes {topology = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>} {
    %0 = mpmd.fragment<mesh="island0", origin=["F0"]> (%s) {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} (%a: tensor<f32>) {
      mpmd.return %a : tensor<f32>
    } : (!mpmd.mesh_tensor<"island0", tensor<f32>>) -> !mpmd.mesh_tensor<"island0", tensor<f32>>
    return %0 : !mpmd.mesh_tensor<"island0", tensor<f32>>
  }
}

// -----

module attributes {atoll.plan = "replicas=2", atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: !mpmd.mesh_tensor<"island0", tensor<f32>> {atoll.path = "x"}) -> (!mpmd.mesh_tensor<"island1", tensor<f32>> {atoll.path = "y"}) attributes {topology = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>} {
    %0 = mpmd.for (%x) {atoll.order = {island0 = "F0@0"}, iterations = 2 : ui32} (%s: !mpmd.mesh_tensor<"island0", tensor<f32>>, %i: tensor<ui32>) {
      %1 = mpmd.call @microbatch(%s) : (!mpmd.mesh_tensor<"island0", tensor<f32>>) -> !mpmd.mesh_tensor<"island0", tensor<f32>>
      mpmd.return %1 : !mpmd.mesh_tensor<"island0", tensor<f32>>
    } : !mpmd.mesh_tensor<"island0", tensor<f32>>
    // expected-error @below {{an exchange makes !mpmd.mesh_tensor<"island1", tensor<f32>> of !mpmd.mesh_tensor<"island0", tensor<f32>>; let it stay where it is, as it is}}
    %2 = mpmd.transfer {atoll.exchange = "add"} %0 : (!mpmd.mesh_tensor<"island0", tensor<f32>>) -> !mpmd.mesh_tensor<"island1", tensor<f32>>
    return %2 : !mpmd.mesh_tensor<"island1", tensor<f32>>
  }
  func.func private @microbatch(%s: !mpmd.mesh_tensor<"island0", tensor<f32>>) -> !mpmd.mesh_tensor<"island0", tensor<f32>> attributes {topology = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>} {
    %0 = mpmd.fragment<mesh="island0", origin=["F0"]> (%s) {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} (%a: tensor<f32>) {
      mpmd.return %a : tensor<f32>
    } : (!mpmd.mesh_tensor<"island0", tensor<f32>>) -> !mpmd.mesh_tensor<"island0", tensor<f32>>
    return %0 : !mpmd.mesh_tensor<"island0", tensor<f32>>
  }
}
