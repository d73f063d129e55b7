// RUN: atoll-opt %s --passes "fold-batch" | filecheck %s

// A reduction over the batch is combined from microbatch to microbatch, beginning with what changes nothing; its
// initial value joins once, after the loop. A reduction over other dimensions is computed for each example.

// CHECK:      [[ZERO:%.*]] = stablehlo.constant dense<0.000000e+00> : tensor<3xf32>
// CHECK-NEXT: [[LEAST:%.*]] = stablehlo.constant dense<0xFF800000> : tensor<f32>
// CHECK:      [[ALL:%.*]]:4 = mpmd.for ([[ZERO]], [[LEAST]],
// CHECK:        [[ROWS:%.*]] = stablehlo.reduce(%arg0 init: {{%.*}}) applies stablehlo.add across dimensions = [1]
// CHECK-SAME:     -> tensor<2xf32>
// CHECK-NEXT:   [[SUM:%.*]] = stablehlo.reduce(%arg0 init: {{%.*}}) applies stablehlo.add across dimensions = [0]
// CHECK-NEXT:   [[MOST:%.*]] = stablehlo.reduce(%arg0 init: {{%.*}}) applies stablehlo.maximum across
// CHECK-NEXT:   [[NONE:%.*]] = stablehlo.constant dense<0.000000e+00> : tensor<f32>
// CHECK-NEXT:   [[OTHER:%.*]] = stablehlo.reduce(%arg0 init: [[NONE]]) applies stablehlo.add across dimensions = [0, 1]
// CHECK-NEXT:   stablehlo.add %arg2, [[SUM]]
// CHECK-NEXT:   stablehlo.maximum %arg3, [[MOST]]
// CHECK-NEXT:   stablehlo.add %arg4, [[OTHER]]
// CHECK:      [[JOINED:%.*]] = stablehlo.add %arg1, [[ALL]]#2
// CHECK-NEXT: return [[ALL]]#3, [[ALL]]#0, [[ALL]]#1, [[JOINED]]
module attributes {atoll.plan = "microbatches=4"} {
  func.func @main(%x: tensor<8x3xf32> {atoll.path = "x", atoll.batch}, %start: tensor<f32> {atoll.path = "start"})
      -> (tensor<8xf32> {atoll.path = "rows"}, tensor<3xf32> {atoll.path = "sum"},
      tensor<f32> {atoll.path = "greatest"},
      tensor<f32> {atoll.path = "joined"}) {
    %zero = stablehlo.constant dense<0.0> : tensor<f32>
    %least = stablehlo.constant dense<0xFF800000> : tensor<f32>
    %rows = stablehlo.reduce(%x init: %zero) applies stablehlo.add across dimensions = [1]
        : (tensor<8x3xf32>, tensor<f32>) -> tensor<8xf32>
    %sum = stablehlo.reduce(%x init: %zero) applies stablehlo.add across dimensions = [0]
        : (tensor<8x3xf32>, tensor<f32>) -> tensor<3xf32>
    %greatest = stablehlo.reduce(%x init: %least) applies stablehlo.maximum across dimensions = [0, 1]
        : (tensor<8x3xf32>, tensor<f32>) -> tensor<f32>
    %joined = stablehlo.reduce(%x init: %start) applies stablehlo.add across dimensions = [0, 1]
        : (tensor<8x3xf32>, tensor<f32>) -> tensor<f32>
    return %rows, %sum, %greatest, %joined : tensor<8xf32>, tensor<3xf32>, tensor<f32>, tensor<f32>
  }
}
