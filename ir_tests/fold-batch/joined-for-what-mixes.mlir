// RUN: atoll-opt %s --passes "fold-batch" | filecheck %s

// What mixes the examples is done once, on the whole of what the microbatches make: a loop writes each part to its
// place, over what a sum of the replicas' parts leaves as it is. The parts of what comes out are cut where examples
// meet it again.

// CHECK:      [[NONE:%.*]] = stablehlo.constant dense<-0.000000e+00> : tensor<4x3xf32>
// CHECK:      [[FIRST:%.*]]:2 = mpmd.for ([[NONE]], {{.*}}([[SO_FAR:%arg[0-9]+]]: tensor<4x3xf32>,
// CHECK-SAME:     [[INDEX:%index]]:
// CHECK:        [[PRODUCT:%.*]] = stablehlo.dot_general
// CHECK:        [[ROW:%.*]] = stablehlo.multiply [[INDEX]]
// CHECK-NEXT:   [[JOINED:%.*]] = stablehlo.dynamic_update_slice [[SO_FAR]], [[PRODUCT]], [[ROW]]
// CHECK-NEXT:   mpmd.return [[JOINED]], [[PRODUCT]]
// CHECK:      [[SORTED:%.*]] = "stablehlo.sort"([[FIRST]]#0)
// CHECK:      mpmd.for
// CHECK:        [[PART:%.*]] = stablehlo.dynamic_slice [[SORTED]]
// CHECK-NEXT:   stablehlo.add [[FIRST]]#1, [[PART]]
module attributes {atoll.plan = "microbatches=2"} {
  func.func @main(%w: tensor<3x3xf32> {atoll.path = "w"}, %x: tensor<4x3xf32> {atoll.path = "x", atoll.batch})
      -> (tensor<4x3xf32> {atoll.path = "y"}) {
    %0 = stablehlo.dot_general %x, %w, contracting_dims = [1] x [0] : (tensor<4x3xf32>, tensor<3x3xf32>)
        -> tensor<4x3xf32>
    %1 = "stablehlo.sort"(%0) <{dimension = 0 : i64}> ({
    ^bb0(%a: tensor<f32>, %b: tensor<f32>):
      %less = stablehlo.compare LT, %a, %b : (tensor<f32>, tensor<f32>) -> tensor<i1>
      stablehlo.return %less : tensor<i1>
    }) : (tensor<4x3xf32>) -> tensor<4x3xf32>
    %2 = stablehlo.add %0, %1 : tensor<4x3xf32>
    return %2 : tensor<4x3xf32>
  }
}
