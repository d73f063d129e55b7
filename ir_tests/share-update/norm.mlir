// RUN: atoll-opt %s --passes "share-update" | filecheck %s

// A norm is added up over the shares; what it begins with is the same for all. A constant is made for a share and, if
// something else uses it, whole.

// CHECK:      [[M:%.*]] = stablehlo.add %arg0,
// CHECK:      [[OWN:%.*]] = stablehlo.reduce([[SQUARES:%.*]] init: {{%.*}}) applies stablehlo.add
// CHECK-SAME:   across dimensions = [0, 1] : (tensor<2x3xf32>, tensor<f32>) -> tensor<f32>
// CHECK-NEXT: [[NORM:%.*]] = stablehlo.custom_call @atoll.exchange([[OWN]]) {atoll.exchange = "add",
// CHECK-SAME:   sdy.sharding_rule = #sdy.op_sharding_rule<([])->([]), custom>}
// CHECK-NOT:  reduce
// CHECK:      stablehlo.broadcast_in_dim [[NORM]], dims = [] : (tensor<f32>) -> tensor<2x3xf32>
// CHECK:      [[LARGEST:%.*]] = stablehlo.reduce({{.*}}) applies stablehlo.maximum
// CHECK-NEXT: custom_call @atoll.exchange([[LARGEST]]) {atoll.exchange = "max",
// CHECK-SAME:   sdy.sharding_rule = #sdy.op_sharding_rule<([i])->([i]) {i=3}, custom>}
// CHECK-SAME:   : (tensor<3xf32>) -> tensor<3xf32>
module attributes {atoll.plan = "replicas=2, update=sharded", atoll.topology = "2 x cpu[1]"} {
  func.func @main(%m: tensor<4x3xf32> {atoll.path = "state['m']"}, %g: tensor<4x3xf32> {atoll.path = "g"})
      -> (tensor<4x3xf32> {atoll.path = "result['m']"}, tensor<3xf32> {atoll.path = "result['largest']"}) {
    %zero = stablehlo.constant dense<0.0> : tensor<f32>
    %least = stablehlo.constant dense<0xFF800000> : tensor<f32>
    %0 = stablehlo.add %m, %g : tensor<4x3xf32>
    %1 = stablehlo.multiply %0, %0 : tensor<4x3xf32>
    %2 = stablehlo.reduce(%1 init: %zero) applies stablehlo.add across dimensions = [0, 1]
        : (tensor<4x3xf32>, tensor<f32>) -> tensor<f32>
    %3 = stablehlo.broadcast_in_dim %2, dims = [] : (tensor<f32>) -> tensor<4x3xf32>
    %4 = stablehlo.divide %0, %3 : tensor<4x3xf32>
    %5 = stablehlo.reduce(%4 init: %least) applies stablehlo.maximum across dimensions = [0]
        : (tensor<4x3xf32>, tensor<f32>) -> tensor<3xf32>
    return %4, %5 : tensor<4x3xf32>, tensor<3xf32>
  }
}
