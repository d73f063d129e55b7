// RUN: atoll-opt %s --passes "fold-batch" | filecheck %s

// What is the same for all microbatches is computed once, before the loop. Constants and operations that only move data
// stay in the loop, in the shape of a block; of an array with a row for each example, a microbatch takes its own rows.

// CHECK:      func.func @main({{.*}}, %arg1: tensor<8x3xf32> {atoll.path = "mask"},
// CHECK-NEXT: [[T:%.*]] = stablehlo.tanh %arg2 : tensor<3xf32>
// CHECK:      mpmd.for
// CHECK:        [[SIZE:%.*]] = stablehlo.constant dense<2> : tensor<ui32>
// CHECK-NEXT:   [[START:%.*]] = stablehlo.multiply %index, [[SIZE]]
// CHECK-NEXT:   [[OWN:%.*]] = stablehlo.dynamic_slice %arg1, [[START]], {{%.*}}, sizes = [2, 3]
// CHECK-NEXT:   [[ONES:%.*]] = stablehlo.constant dense<1.000000e+00> : tensor<2x3xf32>
// CHECK-NEXT:   [[MORE:%.*]] = stablehlo.add %arg0, [[ONES]]
// CHECK-NEXT:   [[ALL:%.*]] = stablehlo.broadcast_in_dim [[T]], dims = [1] : (tensor<3xf32>) -> tensor<2x3xf32>
// CHECK-NEXT:   [[SCALED:%.*]] = stablehlo.multiply [[MORE]], [[ALL]]
// CHECK-NEXT:   stablehlo.multiply [[SCALED]], [[OWN]]
module attributes {atoll.plan = "microbatches=4"} {
  func.func @main(
      %x: tensor<8x3xf32> {atoll.path = "x", atoll.batch}, %mask: tensor<8x3xf32> {atoll.path = "mask"},
      %w: tensor<3xf32> {atoll.path = "w"})
      -> (tensor<8x3xf32> {atoll.path = "y"}) {
    %ones = stablehlo.constant dense<1.0> : tensor<8x3xf32>
    %more = stablehlo.add %x, %ones : tensor<8x3xf32>
    %t = stablehlo.tanh %w : tensor<3xf32>
    %all = stablehlo.broadcast_in_dim %t, dims = [1] : (tensor<3xf32>) -> tensor<8x3xf32>
    %scaled = stablehlo.multiply %more, %all : tensor<8x3xf32>
    %masked = stablehlo.multiply %scaled, %mask : tensor<8x3xf32>
    return %masked : tensor<8x3xf32>
  }
}
