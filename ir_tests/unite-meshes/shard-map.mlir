// RUN: atoll-opt %s --passes "unite-meshes" | filecheck %s

// The mesh of a shard_map may have axes of one device beside those of the islands. Groups of devices by such an axis
// have one device each; those by other axes stay.

// CHECK:     sdy.mesh @mesh = <["data"=2, "model"=2]>
// CHECK-NOT: sdy.mesh @mesh_0
module attributes {atoll.topology = "2 x cpu[data=2, model=2]"} {
  sdy.mesh @mesh = <["stage"=1, "data"=2, "model"=2]>
  sdy.mesh @mesh_0 = <["stage"=1, "data"=2, "model"=2]>
  func.func @main(%x: tensor<8x8xf32>) -> tensor<8x8xf32> {
    // CHECK:      sdy.manual_computation({{%.*}}) in_shardings=[<@mesh, [{"data"}, {"model"}]>]
    // CHECK-SAME: out_shardings=[<@mesh, [{"data"}, {"model"}]>] manual_axes={"data", "model"}
    %0 = sdy.manual_computation(%x) in_shardings=[<@mesh, [{"stage", "data"}, {"model"}]>]
        out_shardings=[<@mesh_0, [{"data"}, {"model", "stage"}]>] manual_axes={"stage", "data", "model"}
        (%part: tensor<4x4xf32>) {
      // CHECK:      "stablehlo.all_gather"
      // CHECK-SAME: replica_groups = dense<{{\[\[}}0], [1], [2], [3]]> : tensor<4x1xi64>
      %1 = "stablehlo.all_gather"(%part) <{all_gather_dim = 0 : i64,
        channel_handle = #stablehlo.channel_handle<handle = 1, type = 1>, replica_groups =
        #stablehlo.replica_group_mesh_axes<mesh = @mesh_0, axes = [#stablehlo.axis_ref<name = "stage">]>,
        use_global_device_ids}> : (tensor<4x4xf32>) -> tensor<4x4xf32>
      // CHECK:      "stablehlo.all_gather"
      // CHECK-SAME: replica_groups = #stablehlo.replica_group_mesh_axes<mesh = @mesh, axes =
      // CHECK-SAME: [#stablehlo.axis_ref<name = "data">]>
      %2 = "stablehlo.all_gather"(%1) <{all_gather_dim = 0 : i64,
        channel_handle = #stablehlo.channel_handle<handle = 2, type = 1>, replica_groups =
        #stablehlo.replica_group_mesh_axes<mesh = @mesh_0, axes =
        [#stablehlo.axis_ref<name = "data">, #stablehlo.axis_ref<name = "stage">]>,
        use_global_device_ids}> : (tensor<4x4xf32>) -> tensor<8x4xf32>
      %3 = stablehlo.slice %2 [0:4, 0:4] : (tensor<8x4xf32>) -> tensor<4x4xf32>
      sdy.return %3 : tensor<4x4xf32>
    } : (tensor<8x8xf32>) -> tensor<8x8xf32>
    return %0 : tensor<8x8xf32>
  }
}
