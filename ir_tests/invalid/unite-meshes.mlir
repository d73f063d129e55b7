// RUN: atoll-opt %s --passes "unite-meshes" --verify-diagnostics --split-input-file

// What is written for the devices of a mesh, where islands have others.

module attributes {atoll.topology = "2 x cpu[data=2, model=2]"} {
  sdy.mesh @mesh = <["data"=4, "model"=2]>
  func.func @main(%x: tensor<8xf32>) -> tensor<8xf32> {
    // expected-error @below {{shard_map is written for the mesh (data=4, model=2), and the islands' is (data=2, model=2); give both the same axes in the same order, as in topology="2 x cpu[data=4, model=2]", or set replicas=2, whose islands together have that mesh}}
    %0 = sdy.manual_computation(%x) in_shardings=[<@mesh, [{"data"}]>] out_shardings=[<@mesh, [{"data"}]>]
        manual_axes={"data"} (%part: tensor<2xf32>) {
      sdy.return %part : tensor<2xf32>
    } : (tensor<8xf32>) -> tensor<8xf32>
    return %0 : tensor<8xf32>
  }
}

// -----

// The numbers of devices in a collective count along the axes in their order.
module attributes {atoll.topology = "2 x cpu[data=2, model=2]"} {
  sdy.mesh @mesh = <["model"=2, "data"=2]>
  func.func @main(%x: tensor<8xf32>) -> tensor<8xf32> {
    // expected-error @below {{shard_map is written for the mesh (model=2, data=2), and the islands' is (data=2, model=2); give both the same axes in the same order, as in topology="2 x cpu[model=2, data=2]"}}
    %0 = sdy.manual_computation(%x) in_shardings=[<@mesh, [{"data"}]>] out_shardings=[<@mesh, [{"data"}]>]
        manual_axes={"data"} (%part: tensor<4xf32>) {
      sdy.return %part : tensor<4xf32>
    } : (tensor<8xf32>) -> tensor<8xf32>
    return %0 : tensor<8xf32>
  }
}

// -----

module attributes {atoll.topology = "1 x cpu[data=2]"} {
  sdy.mesh @mesh = <["data"=2], device_ids=[1, 0]>
  func.func @main(%x: tensor<8xf32>) -> tensor<8xf32> {
    // expected-error @below {{shard_map is written for devices in the order 1, 0}}
    %0 = sdy.manual_computation(%x) in_shardings=[<@mesh, [{"data"}]>] out_shardings=[<@mesh, [{"data"}]>]
        manual_axes={"data"} (%part: tensor<4xf32>) {
      sdy.return %part : tensor<4xf32>
    } : (tensor<8xf32>) -> tensor<8xf32>
    return %0 : tensor<8xf32>
  }
}

// -----

// A mesh that is written out has no name.
module attributes {atoll.topology = "1 x cpu[data=2]"} {
  func.func @main(%x: tensor<8xf32>) -> tensor<8xf32> {
    // expected-error @below {{shard_map is written for the mesh (), and the islands' is (data=2)}}
    %0 = sdy.manual_computation(%x) in_shardings=[<mesh<["data"=2]>, [{"data"}]>]
        out_shardings=[<mesh<["data"=2]>, [{"data"}]>] manual_axes={"data"} (%part: tensor<4xf32>) {
      sdy.return %part : tensor<4xf32>
    } : (tensor<8xf32>) -> tensor<8xf32>
    return %0 : tensor<8xf32>
  }
}

// -----

// What jax makes of a shard_map over one device; on an island of one it is right.
module attributes {atoll.topology = "island a : cpu[1]; island b : cpu[data=2]"} {
  func.func @main(%x: tensor<8xf32>) -> tensor<ui32> {
    // expected-error @below {{shard_map is written for a mesh of one device, and the islands' is (devices=1, data=2); give shard_map the islands' axes, or islands one device each}}
    %0 = stablehlo.partition_id : tensor<ui32>
    return %0 : tensor<ui32>
  }
}
