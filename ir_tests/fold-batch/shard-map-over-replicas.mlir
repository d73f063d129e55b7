// RUN: atoll-opt %s --passes "fold-batch" | filecheck %s

// A mesh of the devices of two replicas, each of which has two of the four along data. A replica sums over its own
// devices what is a part of the sum over all, and where it stands along data it counts over all replicas.

// CHECK-DAG:  sdy.mesh @mesh_of_replica = <["data"=2, "model"=2]>
// CHECK:      func.func @main(%arg0: tensor<4xf32> {atoll.batch, atoll.parts = 2
// CHECK-SAME: -> (tensor<4xf32> {atoll.parts = 2
// CHECK:      mpmd.for
// CHECK:        sdy.manual_computation(%arg0, %index)
// CHECK-SAME:     in_shardings=[<@mesh_of_replica, [{"data"}]>, <@mesh_of_replica, []>]
// CHECK-SAME:     ({{%.*}}: tensor<2xf32>, [[PART:%.*]]: tensor<ui32>)
// CHECK:          [[OWN:%.*]] = stablehlo.partition_id
// CHECK:          [[DEVICES:%.*]] = stablehlo.constant dense<4> : tensor<ui32>
// CHECK:          [[BEFORE:%.*]] = stablehlo.multiply [[PART]], [[DEVICES]]
// CHECK:          stablehlo.add {{%.*}}, [[BEFORE]]
// CHECK:          "stablehlo.all_reduce"
// CHECK-SAME:       replica_groups = dense<{{\[\[}}0, 2], [1, 3]]> : tensor<2x2xi64>
// CHECK:          "stablehlo.all_reduce"
// CHECK-SAME:       replica_groups = dense<{{\[\[}}0, 1], [2, 3]]> : tensor<2x2xi64>
// CHECK:        stablehlo.add
// CHECK:        mpmd.return
module attributes {atoll.plan = "replicas=2", atoll.topology = "2 x cpu[data=2, model=2]", atoll.phase = "stablehlo"} {
  sdy.mesh @mesh = <["data"=4, "model"=2]>
  func.func @main(%x: tensor<8xf32> {atoll.batch, atoll.path = "x"})
      -> (tensor<8xf32> {atoll.path = "result[0]"}, tensor<f32> {atoll.path = "result[1]"}) {
    %0:2 = sdy.manual_computation(%x) in_shardings=[<@mesh, [{"data"}]>]
        out_shardings=[<@mesh, [{"data"}]>, <@mesh, []>] manual_axes={"data", "model"} (%own: tensor<2xf32>) {
      %device = stablehlo.partition_id : tensor<ui32>
      %two = stablehlo.constant dense<2> : tensor<ui32>
      %four = stablehlo.constant dense<4> : tensor<ui32>
      %row = stablehlo.divide %device, %two : tensor<ui32>
      %place = stablehlo.remainder %row, %four : tensor<ui32>
      %number = stablehlo.convert %place : (tensor<ui32>) -> tensor<f32>
      %numbers = stablehlo.broadcast_in_dim %number, dims = [] : (tensor<f32>) -> tensor<2xf32>
      %counted = stablehlo.add %own, %numbers : tensor<2xf32>
      %zero = stablehlo.constant dense<0.0> : tensor<f32>
      %sum = stablehlo.reduce(%counted init: %zero) applies stablehlo.add across dimensions = [0]
          : (tensor<2xf32>, tensor<f32>) -> tensor<f32>
      %all = "stablehlo.all_reduce"(%sum) <{replica_groups = dense<[[0, 2, 4, 6], [1, 3, 5, 7]]> : tensor<2x4xi64>}> ({
      ^bb0(%a: tensor<f32>, %b: tensor<f32>):
        %both = stablehlo.add %a, %b : tensor<f32>
        stablehlo.return %both : tensor<f32>
      }) : (tensor<f32>) -> tensor<f32>
      %twice = "stablehlo.all_reduce"(%all) <{
          replica_groups = dense<[[0, 1], [2, 3], [4, 5], [6, 7]]> : tensor<4x2xi64>}> ({
      ^bb0(%a: tensor<f32>, %b: tensor<f32>):
        %both = stablehlo.add %a, %b : tensor<f32>
        stablehlo.return %both : tensor<f32>
      }) : (tensor<f32>) -> tensor<f32>
      sdy.return %counted, %twice : tensor<2xf32>, tensor<f32>
    } : (tensor<8xf32>) -> (tensor<8xf32>, tensor<f32>)
    return %0#0, %0#1 : tensor<8xf32>, tensor<f32>
  }
}
