// RUN: atoll-opt %s --passes "share-update" | filecheck %s

// Each replica keeps its share of the state; it takes its share of the gradient and of the parameter, and the new
// parameter is gathered.

// CHECK:      func.func @main(%arg0: tensor<4x3xf32> {atoll.path = "state['w']"},
// CHECK-SAME: %arg1: tensor<2x3xf32> {atoll.path = "state['m']", atoll.share = 0 : i32},
// CHECK-SAME: %arg2: tensor<4x3xf32> {atoll.path = "g"})
// CHECK-SAME: tensor<2x3xf32> {atoll.path = "result['m']", atoll.share = 0 : i32}
// CHECK:      [[G:%.*]] = stablehlo.custom_call @atoll.exchange(%arg2) {atoll.exchange = "share", atoll.share = 0 : i32
// CHECK-SAME: sdy.sharding_rule = #sdy.op_sharding_rule<([i, j])->([k, j])
// CHECK-SAME: {i=4, j=3, k=2} blocked_propagation={i, k}, custom>
// CHECK-NEXT: [[M:%.*]] = stablehlo.add %arg1, [[G]] : tensor<2x3xf32>
// CHECK-NEXT: [[W:%.*]] = stablehlo.custom_call @atoll.exchange(%arg0) {atoll.exchange = "share"
// CHECK-NEXT: [[N:%.*]] = stablehlo.subtract [[W]], [[M]] : tensor<2x3xf32>
// CHECK-NEXT: [[ALL:%.*]] = stablehlo.custom_call @atoll.exchange([[N]])
// CHECK-SAME: {atoll.exchange = "gather", atoll.share = 0 : i32
// CHECK-NEXT: return [[ALL]], [[M]] : tensor<4x3xf32>, tensor<2x3xf32>
module attributes {atoll.plan = "replicas=2, update=sharded", atoll.topology = "2 x cpu[1]"} {
  func.func @main(
      %w: tensor<4x3xf32> {atoll.path = "state['w']"},
      %m: tensor<4x3xf32> {atoll.path = "state['m']"},
      %g: tensor<4x3xf32> {atoll.path = "g"})
      -> (tensor<4x3xf32> {atoll.path = "result['w_new']"}, tensor<4x3xf32> {atoll.path = "result['m']"}) {
    %0 = stablehlo.add %m, %g : tensor<4x3xf32>
    %1 = stablehlo.subtract %w, %0 : tensor<4x3xf32>
    return %1, %0 : tensor<4x3xf32>, tensor<4x3xf32>
  }
}
