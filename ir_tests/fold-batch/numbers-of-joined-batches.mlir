// RUN: atoll-opt %s --passes "fold-batch" | filecheck %s

// In several blocks a count of the examples goes on in each from where the microbatch before ended, and skips what the
// others have of the blocks before. Of what is given whole, one slice takes the parts of all blocks.

// CHECK:      mpmd.for
// CHECK:        [[GIVEN:%.*]] = stablehlo.reshape %arg1 : (tensor<24xi32>) -> tensor<3x8xi32>
// CHECK:        [[PARTS:%.*]] = stablehlo.dynamic_slice [[GIVEN]], {{%.*}}, {{%.*}}, sizes = [3, 2]
// CHECK-NEXT:   [[OWN:%.*]] = stablehlo.reshape [[PARTS]] : (tensor<3x2xi32>) -> tensor<6xi32>
// CHECK:        [[PLACES:%.*]] = stablehlo.iota dim = 0 : tensor<6xi32>
// CHECK:        [[STARTS:%.*]] = stablehlo.broadcast_in_dim
// CHECK-NEXT:   [[COUNTED:%.*]] = stablehlo.iota dim = 0 : tensor<6xi32>
// CHECK-NEXT:   [[SIZE:%.*]] = stablehlo.constant dense<2> : tensor<6xi32>
// CHECK-NEXT:   [[BLOCK:%.*]] = stablehlo.divide [[COUNTED]], [[SIZE]]
// CHECK-NEXT:   [[OTHERS:%.*]] = stablehlo.constant dense<6> : tensor<6xi32>
// CHECK-NEXT:   [[SKIPPED:%.*]] = stablehlo.multiply [[BLOCK]], [[OTHERS]]
// CHECK-NEXT:   [[AHEAD:%.*]] = stablehlo.add [[STARTS]], [[SKIPPED]]
// CHECK-NEXT:   [[NUMBERS:%.*]] = stablehlo.add [[PLACES]], [[AHEAD]]
module attributes {atoll.plan = "microbatches=4"} {
  func.func @main(%x: tensor<8xi32> {atoll.path = "x", atoll.batch}, %given: tensor<24xi32> {atoll.path = "given"})
      -> (tensor<3x8xi32> {atoll.path = "y"}) {
    %tiled = stablehlo.broadcast_in_dim %x, dims = [1] : (tensor<8xi32>) -> tensor<3x8xi32>
    %flat = stablehlo.reshape %tiled : (tensor<3x8xi32>) -> tensor<24xi32>
    %0 = stablehlo.multiply %flat, %given : tensor<24xi32>
    %numbers = stablehlo.iota dim = 0 : tensor<24xi32>
    %1 = stablehlo.add %0, %numbers : tensor<24xi32>
    %y = stablehlo.reshape %1 : (tensor<24xi32>) -> tensor<3x8xi32>
    return %y : tensor<3x8xi32>
  }
}
