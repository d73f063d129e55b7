// RUN: atoll-opt %s --passes "share-update" | filecheck %s
// RUN: atoll-opt %s --passes "share-update" --verify-diagnostics

// What something needs whole is not shared, nor what has no dimension that can be shared evenly; the module says why.
// What the user divides over the devices of an island is shared along another dimension.

// expected-remark @unknown {{not shared by replicas: state['sorted'], which sort needs whole}}
// CHECK:      atoll.notes = [{at = ["optimizer.py", 7, 1], kind = "needed-whole", path = "state['sorted']", user = "sort"}
// CHECK-SAME:   is_in_pieces = false, kind = "not-divisible", path = "state['odd']", replicas = 2 : i64, shape = "3 x 5"}]
// CHECK:      %arg0: tensor<4xf32> {atoll.path = "state['sorted']"}
// CHECK-SAME: %arg1: tensor<3x5xf32> {atoll.path = "state['odd']"}
// CHECK-SAME: %arg2: tensor<4x3xf32> {atoll.path = "state['divided']", atoll.share = 1 : i32,
// CHECK-SAME:   sdy.sharding = #sdy.sharding<@mesh, [{"x"}, {}]>}
// CHECK:      stablehlo.sort{{.*}}%arg0
module attributes {atoll.plan = "replicas=2, update=sharded", atoll.topology = "2 x cpu[x=2]"} {
  sdy.mesh @mesh = <["x"=2]>
  func.func @main(
      %a: tensor<4xf32> {atoll.path = "state['sorted']"},
      // expected-remark @below {{not shared by replicas: state['odd'], 3 x 5, which has no dimension that 2 replicas share evenly}}
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
