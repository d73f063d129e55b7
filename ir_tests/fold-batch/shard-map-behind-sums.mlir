// RUN: atoll-opt %s --passes "fold-batch" | filecheck %s

// What devices do with a sum that has to be complete stands behind the loop, in a manual computation of its own. The
// sum itself leaves the loop as each device has it.

// CHECK:      [[SUMS:%.*]] = mpmd.for
// CHECK:        [[OWN:%.*]] = sdy.manual_computation
// CHECK-SAME:     out_shardings=[<@mesh, [{"data"}]>]
// CHECK-NOT:      stablehlo.sqrt
// CHECK:          sdy.return {{%.*}} : tensor<1xf32>
// CHECK:        [[ADDED:%.*]] = stablehlo.add {{%.*}}, [[OWN]] : tensor<2xf32>
// CHECK:        mpmd.return [[ADDED]]
// CHECK:      sdy.manual_computation([[SUMS]])
// CHECK-SAME:     in_shardings=[<@mesh, [{"data"}]>]
// CHECK:        stablehlo.sqrt
module attributes {atoll.plan = "microbatches=2", atoll.phase = "stablehlo"} {
  sdy.mesh @mesh = <["data"=2]>
  func.func @main(%x: tensor<8xf32> {atoll.batch, atoll.path = "x"}) -> (tensor<f32> {atoll.path = "result"}) {
    %0 = sdy.manual_computation(%x) in_shardings=[<@mesh, [{"data"}]>] out_shardings=[<@mesh, []>]
        manual_axes={"data"} (%part: tensor<4xf32>) {
      %zero = stablehlo.constant dense<0.0> : tensor<f32>
      %own = stablehlo.reduce(%part init: %zero) applies stablehlo.add across dimensions = [0]
          : (tensor<4xf32>, tensor<f32>) -> tensor<f32>
      %sum = "stablehlo.all_reduce"(%own) <{replica_groups = dense<[[0, 1]]> : tensor<1x2xi64>}> ({
      ^bb0(%a: tensor<f32>, %b: tensor<f32>):
        %both = stablehlo.add %a, %b : tensor<f32>
        stablehlo.return %both : tensor<f32>
      }) : (tensor<f32>) -> tensor<f32>
      %root = stablehlo.sqrt %sum : tensor<f32>
      sdy.return %root : tensor<f32>
    } : (tensor<8xf32>) -> tensor<f32>
    return %0 : tensor<f32>
  }
}
