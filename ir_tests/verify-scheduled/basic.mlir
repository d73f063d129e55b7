// RUN: atoll-opt %s --passes "verify-scheduled" | filecheck %s


// CHECK: atoll.phase = "scheduled"
module attributes {atoll.phase = "placed", atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: !mpmd.mesh_tensor<"island0", tensor<4xf32>> {atoll.path = "x"}) -> (!mpmd.mesh_tensor<"island1", tensor<4xf32>> {atoll.path = "result"}) attributes {topology = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>} {
    %0 = mpmd.fragment_call<mesh="island0", origin=["F0"]> @F0(%x) : (!mpmd.mesh_tensor<"island0", tensor<4xf32>>) -> !mpmd.mesh_tensor<"island0", tensor<4xf32>>
    %1 = mpmd.transfer %0 : (!mpmd.mesh_tensor<"island0", tensor<4xf32>>) -> !mpmd.mesh_tensor<"island1", tensor<4xf32>>
    return %1 : !mpmd.mesh_tensor<"island1", tensor<4xf32>>
  }
  func.func private @F0(%a: tensor<4xf32>) -> tensor<4xf32> attributes {mesh_shape = #sdy.mesh<["devices"=1]>} {
    %0 = stablehlo.negate %a : tensor<4xf32>
    return %0 : tensor<4xf32>
  }
}
