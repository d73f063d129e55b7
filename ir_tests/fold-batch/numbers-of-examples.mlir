// RUN: atoll-opt %s --passes "fold-batch" | filecheck %s

// A count of the examples goes on from the microbatch before, so that what is drawn for an example does not depend on
// its microbatch; a count along another dimension stays as it is.

// CHECK:      ({{%.*}}: tensor<2x3xi32>, %index: tensor<ui32>)
// CHECK-NEXT:   [[OWN:%.*]] = stablehlo.iota dim = 0 : tensor<2x3xi32>
// CHECK-NEXT:   [[SIZE:%.*]] = stablehlo.constant dense<2> : tensor<ui32>
// CHECK-NEXT:   [[START:%.*]] = stablehlo.multiply %index, [[SIZE]]
// CHECK-NEXT:   [[AS:%.*]] = stablehlo.convert [[START]] : (tensor<ui32>) -> tensor<i32>
// CHECK-NEXT:   [[STARTS:%.*]] = stablehlo.broadcast_in_dim [[AS]]
// CHECK-NEXT:   [[ROWS:%.*]] = stablehlo.add [[OWN]], [[STARTS]]
// CHECK-NEXT:   [[COLUMNS:%.*]] = stablehlo.iota dim = 1 : tensor<2x3xi32>
// CHECK-NEXT:   stablehlo.xor [[ROWS]], [[COLUMNS]]
module attributes {atoll.plan = "microbatches=4"} {
  func.func @main(%x: tensor<8x3xi32> {atoll.path = "x", atoll.batch}) -> (tensor<8x3xi32> {atoll.path = "y"}) {
    %rows = stablehlo.iota dim = 0 : tensor<8x3xi32>
    %columns = stablehlo.iota dim = 1 : tensor<8x3xi32>
    %drawn = stablehlo.xor %rows, %columns : tensor<8x3xi32>
    %y = stablehlo.add %x, %drawn : tensor<8x3xi32>
    return %y : tensor<8x3xi32>
  }
}
