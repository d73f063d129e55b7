// RUN: atoll-opt %s --passes "take-out-sums" | filecheck %s
// RUN: atoll-opt %s --passes "take-out-sums, share-update" | filecheck %s --check-prefix SHARED

// A norm, of which replicas have parts, is made ahead of the choice that has it in a branch, with what it is made of.
// So is what adds it to another sum: then their parts are exchanged together.

// CHECK:      [[SQUARES:%.*]] = stablehlo.multiply %arg1, %arg1
// CHECK:      [[A:%.*]] = stablehlo.reduce([[SQUARES]] init: {{%.*}}) applies stablehlo.add
// CHECK:      [[B:%.*]] = stablehlo.reduce(%arg2 init: {{%.*}}) applies stablehlo.add
// CHECK:      [[NORM:%.*]] = stablehlo.add [[A]], [[B]]
// CHECK:      "stablehlo.case"(%arg0) ({
// CHECK-NEXT:   return %arg1, %arg2
// CHECK-NEXT: }, {
// CHECK-NEXT:   [[ROOT:%.*]] = stablehlo.sqrt [[NORM]]
// CHECK-NEXT:   [[ALL:%.*]] = stablehlo.broadcast_in_dim [[ROOT]], dims = [] : (tensor<f32>) -> tensor<4xf32>
// CHECK-NEXT:   stablehlo.divide %arg1, [[ALL]]

// SHARED:     [[OWN:%.*]] = stablehlo.add {{%.*}}, {{%.*}} : tensor<f32>
// SHARED-NEXT: stablehlo.custom_call @atoll.exchange([[OWN]]) {atoll.exchange = "add"
// SHARED-NOT: atoll.exchange
module attributes {atoll.plan = "replicas=2, update=sharded", atoll.topology = "2 x cpu[1]"} {
  func.func @main(
      %p: tensor<i32> {atoll.path = "p"}, %m: tensor<4xf32> {atoll.path = "state['m']"},
      %n: tensor<2xf32> {atoll.path = "state['n']"})
      -> (tensor<4xf32> {atoll.path = "result['m']"}, tensor<2xf32> {atoll.path = "result['n']"}) {
    %new:2 = "stablehlo.case"(%p) ({
      stablehlo.return %m, %n : tensor<4xf32>, tensor<2xf32>
    }, {
      %zero = stablehlo.constant dense<0.0> : tensor<f32>
      %squares = stablehlo.multiply %m, %m : tensor<4xf32>
      %0 = stablehlo.reduce(%squares init: %zero) applies stablehlo.add across dimensions = [0]
          : (tensor<4xf32>, tensor<f32>) -> tensor<f32>
      %1 = stablehlo.reduce(%n init: %zero) applies stablehlo.add across dimensions = [0]
          : (tensor<2xf32>, tensor<f32>) -> tensor<f32>
      %2 = stablehlo.add %0, %1 : tensor<f32>
      %norm = stablehlo.sqrt %2 : tensor<f32>
      %all = stablehlo.broadcast_in_dim %norm, dims = [] : (tensor<f32>) -> tensor<4xf32>
      %scaled = stablehlo.divide %m, %all : tensor<4xf32>
      stablehlo.return %scaled, %n : tensor<4xf32>, tensor<2xf32>
    }) : (tensor<i32>) -> (tensor<4xf32>, tensor<2xf32>)
    return %new#0, %new#1 : tensor<4xf32>, tensor<2xf32>
  }
}
