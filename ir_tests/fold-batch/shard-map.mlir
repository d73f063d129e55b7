// RUN: atoll-opt %s --passes "fold-batch" | filecheck %s

// Each device has its part of the batch, which is a block of the whole: a microbatch has some of each block. What a
// device counts by itself goes on from one microbatch to the next, whose number it is given.

// CHECK:      %arg0: tensor<2xf32> {{{.*}} atoll.piece = array<i64: 0, 0, 8>}
// CHECK-SAME: %arg1: tensor<2xf32> {{{.*}} atoll.piece = array<i64: 0, 4, 8>}
// CHECK:      mpmd.for
// CHECK:        [[X:%.*]] = stablehlo.concatenate %arg0, %arg1
// CHECK:        sdy.manual_computation([[X]], %index) in_shardings=[<@mesh, [{"data"}]>, <@mesh, []>]
// CHECK-SAME:     out_shardings=[<@mesh, []>] manual_axes={"data"} ({{%.*}}: tensor<2xf32>, [[I:%.*]]: tensor<ui32>)
// CHECK:          stablehlo.multiply [[I]]
// CHECK:          [[SUM:%.*]] = "stablehlo.all_reduce"
// CHECK:          sdy.return [[SUM]] : tensor<f32>
// CHECK:        stablehlo.add
module attributes {atoll.plan = "microbatches=2", atoll.phase = "stablehlo"} {
  sdy.mesh @mesh = <["data"=2]>
  func.func @main(%x: tensor<8xf32> {atoll.batch, atoll.path = "x"}) -> (tensor<f32> {atoll.path = "result"}) {
    %0 = sdy.manual_computation(%x) in_shardings=[<@mesh, [{"data"}]>] out_shardings=[<@mesh, []>]
        manual_axes={"data"} (%part: tensor<4xf32>) {
      %place = stablehlo.iota dim = 0 : tensor<4xf32>
      %scaled = stablehlo.multiply %part, %place : tensor<4xf32>
      %zero = stablehlo.constant dense<0.0> : tensor<f32>
      %own = stablehlo.reduce(%scaled init: %zero) applies stablehlo.add across dimensions = [0]
          : (tensor<4xf32>, tensor<f32>) -> tensor<f32>
      %sum = "stablehlo.all_reduce"(%own) <{replica_groups = dense<[[0, 1]]> : tensor<1x2xi64>}> ({
      ^bb0(%a: tensor<f32>, %b: tensor<f32>):
        %both = stablehlo.add %a, %b : tensor<f32>
        stablehlo.return %both : tensor<f32>
      }) : (tensor<f32>) -> tensor<f32>
      sdy.return %sum : tensor<f32>
    } : (tensor<8xf32>) -> tensor<f32>
    return %0 : tensor<f32>
  }
}
