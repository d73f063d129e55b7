// RUN: atoll-opt %s --passes "share-update" | filecheck %s

// An array is shared along the first dimension that replicas can divide, and what it is computed from along the
// dimension that becomes that one.

// CHECK:      %arg0: tensor<3x2xf32> {atoll.path = "state['m']", atoll.share = 1 : i32}
// CHECK:      [[OWN:%.*]] = stablehlo.custom_call @atoll.exchange(%arg1)
// CHECK-SAME: {atoll.exchange = "share", atoll.share = 0 : i32,
// CHECK-SAME: (tensor<4x3xf32>) -> tensor<2x3xf32>
// CHECK-NEXT: [[TURNED:%.*]] = stablehlo.transpose [[OWN]], dims = [1, 0]
// CHECK-NEXT: stablehlo.add %arg0, [[TURNED]] : tensor<3x2xf32>
module attributes {atoll.plan = "replicas=2, update=sharded", atoll.topology = "2 x cpu[1]"} {
  func.func @main(%m: tensor<3x4xf32> {atoll.path = "state['m']"}, %g: tensor<4x3xf32> {atoll.path = "g"})
      -> (tensor<3x4xf32> {atoll.path = "result['m']"}) {
    %turned = stablehlo.transpose %g, dims = [1, 0] : (tensor<4x3xf32>) -> tensor<3x4xf32>
    %new = stablehlo.add %m, %turned : tensor<3x4xf32>
    return %new : tensor<3x4xf32>
  }
}
