// RUN: atoll-opt %s --passes "share-update" | filecheck %s

// What something needs whole is not shared, nor what has no dimension that can be shared evenly; the module says why.
// What the user divides over the devices of an island is shared along another dimension.

// CHECK:      atoll.not_shared = ["state['sorted'] is needed whole by sort at optimizer.py:7",
// CHECK-SAME:   "state['odd'], 3 x 5, has no dimension that 2 replicas share evenly"]
// CHECK:      %arg0: tensor<4xf32> {atoll.path = "state['sorted']"}
// CHECK-SAME: %arg1: tensor<3x5xf32> {atoll.path = "state['odd']"}
// CHECK-SAME: %arg2: tensor<4x3xf32> {atoll.path = "state['divided']", atoll.share = 1 : i32,
// CHECK-SAME:   sdy.sharding = #sdy.sharding<@mesh, [{"x"}, {}]>}
// CHECK:      stablehlo.sort{{.*}}%arg0
module attributes {atoll.plan = "replicas=2, update=sharded", atoll.topology = "2 x cpu[x=2]"} {
  sdy.mesh @mesh = <["x"=2]>
  func.func @main(
      %a: tensor<4xf32> {atoll.path = "state['sorted']"},
      %b: tensor<3x5xf32> {atoll.path = "state['odd']"},
      %c: tensor<4x6xf32> {atoll.path = "state['divided']", sdy.sharding = #sdy.sharding<@mesh, [{"x"}, {}]>})
      -> (tensor<4xf32> {atoll.path = "result['sorted']"}, tensor<3x5xf32> {atoll.path = "result['odd']"},
      tensor<4x6xf32> {atoll.path = "result['divided']"}) {
    %0 = "stablehlo.sort"(%a) <{dimension = 0 : i64, is_stable = true}> ({
    ^bb0(%x: tensor<f32>, %y: tensor<f32>):
      %less = stablehlo.compare LT, %x, %y : (tensor<f32>, tensor<f32>) -> tensor<i1>
      stablehlo.return %less : tensor<i1>
    }) : (tensor<4xf32>) -> tensor<4xf32> loc("jit(f)/sort"("optimizer.py":7:1))
    %1 = stablehlo.negate %b : tensor<3x5xf32>
    %2 = stablehlo.negate %c : tensor<4x6xf32>
    return %0, %1, %2 : tensor<4xf32>, tensor<3x5xf32>, tensor<4x6xf32>
  }
}
