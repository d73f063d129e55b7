// RUN: atoll-opt %s --passes "fold-batch" | filecheck %s

// What the user says about the devices of an island stays as it is.

// CHECK:      sdy.mesh @mesh = <["data"=2]>
// CHECK:      %arg0: tensor<2x4xf32> {atoll.batch, atoll.parts = 4 : i32, atoll.path = "x",
// CHECK-SAME:     sdy.sharding = #sdy.sharding<@mesh, [{"data"}, {}]>}
// CHECK:        [[Y:%.*]] = sdy.sharding_constraint %arg0 <@mesh, [{}, {"data"}]> : tensor<2x4xf32>
// CHECK-NEXT:   stablehlo.negate [[Y]]
// CHECK-SAME:     {sdy.sharding = #sdy.sharding_per_value<[<@mesh, [{}, {"data"}]>]>} : tensor<2x4xf32>
module attributes {atoll.plan = "microbatches=4"} {
  sdy.mesh @mesh = <["data"=2]>
  func.func @main(
      %x: tensor<8x4xf32> {atoll.path = "x", atoll.batch, sdy.sharding = #sdy.sharding<@mesh, [{"data"}, {}]>})
      -> (tensor<8x4xf32> {atoll.path = "z"}) {
    %y = sdy.sharding_constraint %x <@mesh, [{}, {"data"}]> : tensor<8x4xf32>
    %z = stablehlo.negate %y {sdy.sharding = #sdy.sharding_per_value<[<@mesh, [{}, {"data"}]>]>} : tensor<8x4xf32>
    return %z : tensor<8x4xf32>
  }
}
