// RUN: atoll-opt %s --passes "order-tasks" --verify-diagnostics --split-input-file


// expected-error @below {{the plan makes 2 stages, each segment counted, and the module has 3; give the plan as it was, or change it in a dump of phase timed, behind which this is decided}}
module attributes {atoll.plan = "stages=2, microbatches=3, schedule=1f1b", atoll.stages = 3 : i32, atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: !mpmd.mesh_tensor<"island0", tensor<4xf32>> {atoll.parts = 3 : i32}, %z: !mpmd.mesh_tensor<"island1", tensor<4xf32>>) -> !mpmd.mesh_tensor<"island1", tensor<4xf32>> attributes {topology = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>} {
    %0 = mpmd.for (%z) {atoll.role = "FB", iterations = 3 : ui32} (%a: !mpmd.mesh_tensor<"island1", tensor<4xf32>>, %i: tensor<ui32>) {
      %1 = mpmd.call @microbatch(%a, %x) : (!mpmd.mesh_tensor<"island1", tensor<4xf32>>, !mpmd.mesh_tensor<"island0", tensor<4xf32>>) -> !mpmd.mesh_tensor<"island1", tensor<4xf32>>
      mpmd.return %1 : !mpmd.mesh_tensor<"island1", tensor<4xf32>>
    } : !mpmd.mesh_tensor<"island1", tensor<4xf32>>
    return %0 : !mpmd.mesh_tensor<"island1", tensor<4xf32>>
  }
  func.func private @microbatch(%a: !mpmd.mesh_tensor<"island1", tensor<4xf32>>, %x: !mpmd.mesh_tensor<"island0", tensor<4xf32>>) -> !mpmd.mesh_tensor<"island1", tensor<4xf32>> attributes {topology = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>} {
    %0 = mpmd.fragment_call<mesh="island0", origin=["F0"]> @f(%x) : (!mpmd.mesh_tensor<"island0", tensor<4xf32>>) -> !mpmd.mesh_tensor<"island0", tensor<4xf32>>
    %1 = mpmd.transfer %0 : (!mpmd.mesh_tensor<"island0", tensor<4xf32>>) -> !mpmd.mesh_tensor<"island1", tensor<4xf32>>
    %2 = mpmd.fragment_call<mesh="island1", origin=["F1"]> @f(%1) : (!mpmd.mesh_tensor<"island1", tensor<4xf32>>) -> !mpmd.mesh_tensor<"island1", tensor<4xf32>>
    %3 = mpmd.fragment_call<mesh="island1", origin=["B1"]> @g(%2, %a) : (!mpmd.mesh_tensor<"island1", tensor<4xf32>>, !mpmd.mesh_tensor<"island1", tensor<4xf32>>) -> !mpmd.mesh_tensor<"island1", tensor<4xf32>>
    return %3 : !mpmd.mesh_tensor<"island1", tensor<4xf32>>
  }
  func.func private @f(%a: tensor<4xf32>) -> tensor<4xf32> attributes {mesh_shape = #sdy.mesh<["devices"=1]>} {
    %0 = stablehlo.negate %a : tensor<4xf32>
    return %0 : tensor<4xf32>
  }
  func.func private @g(%a: tensor<4xf32>, %b: tensor<4xf32>) -> tensor<4xf32> attributes {mesh_shape = #sdy.mesh<["devices"=1]>} {
    %0 = stablehlo.add %b, %a : tensor<4xf32>
    return %0 : tensor<4xf32>
  }
}

// -----

module attributes {atoll.plan = "stages=2, microbatches=4, schedule=1f1b", atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: !mpmd.mesh_tensor<"island0", tensor<4xf32>> {atoll.parts = 3 : i32}, %z: !mpmd.mesh_tensor<"island1", tensor<4xf32>>) -> !mpmd.mesh_tensor<"island1", tensor<4xf32>> attributes {topology = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>} {
    // expected-error @below {{the plan has 4 microbatches on all replicas together, and the module has 3; give the plan as it was, or change it in a dump of phase stablehlo, behind which this is decided}}
    %0 = mpmd.for (%z) {atoll.role = "FB", iterations = 3 : ui32} (%a: !mpmd.mesh_tensor<"island1", tensor<4xf32>>, %i: tensor<ui32>) {
      %1 = mpmd.call @microbatch(%a, %x) : (!mpmd.mesh_tensor<"island1", tensor<4xf32>>, !mpmd.mesh_tensor<"island0", tensor<4xf32>>) -> !mpmd.mesh_tensor<"island1", tensor<4xf32>>
      mpmd.return %1 : !mpmd.mesh_tensor<"island1", tensor<4xf32>>
    } : !mpmd.mesh_tensor<"island1", tensor<4xf32>>
    return %0 : !mpmd.mesh_tensor<"island1", tensor<4xf32>>
  }
  func.func private @microbatch(%a: !mpmd.mesh_tensor<"island1", tensor<4xf32>>, %x: !mpmd.mesh_tensor<"island0", tensor<4xf32>>) -> !mpmd.mesh_tensor<"island1", tensor<4xf32>> attributes {topology = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>} {
    %0 = mpmd.fragment_call<mesh="island0", origin=["F0"]> @f(%x) : (!mpmd.mesh_tensor<"island0", tensor<4xf32>>) -> !mpmd.mesh_tensor<"island0", tensor<4xf32>>
    %1 = mpmd.transfer %0 : (!mpmd.mesh_tensor<"island0", tensor<4xf32>>) -> !mpmd.mesh_tensor<"island1", tensor<4xf32>>
    %2 = mpmd.fragment_call<mesh="island1", origin=["F1"]> @f(%1) : (!mpmd.mesh_tensor<"island1", tensor<4xf32>>) -> !mpmd.mesh_tensor<"island1", tensor<4xf32>>
    %3 = mpmd.fragment_call<mesh="island1", origin=["B1"]> @g(%2, %a) : (!mpmd.mesh_tensor<"island1", tensor<4xf32>>, !mpmd.mesh_tensor<"island1", tensor<4xf32>>) -> !mpmd.mesh_tensor<"island1", tensor<4xf32>>
    return %3 : !mpmd.mesh_tensor<"island1", tensor<4xf32>>
  }
  func.func private @f(%a: tensor<4xf32>) -> tensor<4xf32> attributes {mesh_shape = #sdy.mesh<["devices"=1]>} {
    %0 = stablehlo.negate %a : tensor<4xf32>
    return %0 : tensor<4xf32>
  }
  func.func private @g(%a: tensor<4xf32>, %b: tensor<4xf32>) -> tensor<4xf32> attributes {mesh_shape = #sdy.mesh<["devices"=1]>} {
    %0 = stablehlo.add %b, %a : tensor<4xf32>
    return %0 : tensor<4xf32>
  }
}

// -----

module attributes {atoll.plan = "stages=2, microbatches=3, schedule=1f1b", atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: !mpmd.mesh_tensor<"island0", tensor<4xf32>> {atoll.parts = 3 : i32}, %z: !mpmd.mesh_tensor<"island1", tensor<4xf32>>) -> !mpmd.mesh_tensor<"island1", tensor<4xf32>> attributes {topology = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>} {
    // expected-error @below {{schedule 1f1b has F2 nowhere, and the module has it on island1; give the plan as it was, or change it in a dump of phase timed, behind which this is decided}}
    %0 = mpmd.for (%z) {atoll.role = "FB", iterations = 3 : ui32} (%a: !mpmd.mesh_tensor<"island1", tensor<4xf32>>, %i: tensor<ui32>) {
      %1 = mpmd.call @microbatch(%a, %x) : (!mpmd.mesh_tensor<"island1", tensor<4xf32>>, !mpmd.mesh_tensor<"island0", tensor<4xf32>>) -> !mpmd.mesh_tensor<"island1", tensor<4xf32>>
      mpmd.return %1 : !mpmd.mesh_tensor<"island1", tensor<4xf32>>
    } : !mpmd.mesh_tensor<"island1", tensor<4xf32>>
    return %0 : !mpmd.mesh_tensor<"island1", tensor<4xf32>>
  }
  func.func private @microbatch(%a: !mpmd.mesh_tensor<"island1", tensor<4xf32>>, %x: !mpmd.mesh_tensor<"island0", tensor<4xf32>>) -> !mpmd.mesh_tensor<"island1", tensor<4xf32>> attributes {topology = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>} {
    %0 = mpmd.fragment_call<mesh="island0", origin=["F0"]> @f(%x) : (!mpmd.mesh_tensor<"island0", tensor<4xf32>>) -> !mpmd.mesh_tensor<"island0", tensor<4xf32>>
    %1 = mpmd.transfer %0 : (!mpmd.mesh_tensor<"island0", tensor<4xf32>>) -> !mpmd.mesh_tensor<"island1", tensor<4xf32>>
    %2 = mpmd.fragment_call<mesh="island1", origin=["F2"]> @f(%1) : (!mpmd.mesh_tensor<"island1", tensor<4xf32>>) -> !mpmd.mesh_tensor<"island1", tensor<4xf32>>
    %3 = mpmd.fragment_call<mesh="island1", origin=["B1"]> @g(%2, %a) : (!mpmd.mesh_tensor<"island1", tensor<4xf32>>, !mpmd.mesh_tensor<"island1", tensor<4xf32>>) -> !mpmd.mesh_tensor<"island1", tensor<4xf32>>
    return %3 : !mpmd.mesh_tensor<"island1", tensor<4xf32>>
  }
  func.func private @f(%a: tensor<4xf32>) -> tensor<4xf32> attributes {mesh_shape = #sdy.mesh<["devices"=1]>} {
    %0 = stablehlo.negate %a : tensor<4xf32>
    return %0 : tensor<4xf32>
  }
  func.func private @g(%a: tensor<4xf32>, %b: tensor<4xf32>) -> tensor<4xf32> attributes {mesh_shape = #sdy.mesh<["devices"=1]>} {
    %0 = stablehlo.add %b, %a : tensor<4xf32>
    return %0 : tensor<4xf32>
  }
}
