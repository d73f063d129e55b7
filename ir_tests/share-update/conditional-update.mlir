// RUN: atoll-opt %s --passes "share-update" | filecheck %s

// An update under a condition is made in shares if the choice is the same for all replicas: what its branches need is
// exchanged before it.

// CHECK:      [[OWN:%.*]] = stablehlo.custom_call @atoll.exchange(%arg2) {atoll.exchange = "share"
// CHECK-NEXT: "stablehlo.case"(%arg0) ({
// CHECK-NEXT:   stablehlo.return %arg1 : tensor<2xf32>
// CHECK:        stablehlo.add %arg1, [[OWN]] : tensor<2xf32>
// CHECK:      }) : (tensor<i32>) -> tensor<2xf32>
module attributes {atoll.plan = "replicas=2, update=sharded", atoll.topology = "2 x cpu[1]"} {
  func.func @main(
      %p: tensor<i32> {atoll.path = "p"}, %m: tensor<4xf32> {atoll.path = "state['m']"},
      %g: tensor<4xf32> {atoll.path = "g"})
      -> (tensor<4xf32> {atoll.path = "result['m']"}) {
    %new = "stablehlo.case"(%p) ({
      stablehlo.return %m : tensor<4xf32>
    }, {
      %sum = stablehlo.add %m, %g : tensor<4xf32>
      stablehlo.return %sum : tensor<4xf32>
    }) : (tensor<i32>) -> tensor<4xf32>
    return %new : tensor<4xf32>
  }
}
