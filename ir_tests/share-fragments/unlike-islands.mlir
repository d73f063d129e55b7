// RUN: atoll-opt %s --passes "share-fragments" | filecheck %s


// The same code for islands of another shape is another program.
// CHECK: origin=["F0"]> @F0(
// CHECK: origin=["F1"]> @F1(
module attributes {atoll.topology = "island island0 : cpu[1]; island island1 : cpu[2]"} {
  func.func @main(%x: !mpmd.mesh_tensor<"island0", tensor<4xf32>>) -> !mpmd.mesh_tensor<"island1", tensor<4xf32>> attributes {topology = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=2]>>>} {
    %0 = mpmd.fragment_call<mesh="island0", origin=["F0"]> @F0(%x) : (!mpmd.mesh_tensor<"island0", tensor<4xf32>>) -> !mpmd.mesh_tensor<"island0", tensor<4xf32>>
    %1 = mpmd.transfer %0 : (!mpmd.mesh_tensor<"island0", tensor<4xf32>>) -> !mpmd.mesh_tensor<"island1", tensor<4xf32>>
    %2 = mpmd.fragment_call<mesh="island1", origin=["F1"]> @F1(%1) : (!mpmd.mesh_tensor<"island1", tensor<4xf32>>) -> !mpmd.mesh_tensor<"island1", tensor<4xf32>>
    return %2 : !mpmd.mesh_tensor<"island1", tensor<4xf32>>
  }
  func.func private @F0(%a: tensor<4xf32>) -> tensor<4xf32> attributes {mesh_shape = #sdy.mesh<["devices"=1]>} {
    %0 = stablehlo.negate %a : tensor<4xf32>
    return %0 : tensor<4xf32>
  }
  func.func private @F1(%a: tensor<4xf32>) -> tensor<4xf32> attributes {mesh_shape = #sdy.mesh<["devices"=2]>} {
    %0 = stablehlo.negate %a : tensor<4xf32>
    return %0 : tensor<4xf32>
  }
}
