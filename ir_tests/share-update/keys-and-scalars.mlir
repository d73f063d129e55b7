// RUN: atoll-opt %s --passes "share-update" | filecheck %s

// Random keys are not arrays that could be shared, and a scalar has no shares; the module has no note about either.

// CHECK-NOT:  atoll.notes
// CHECK:      func.func @main(%arg0: tensor<2xui32> {atoll.path = "state['key']"}, %arg1: tensor<i32>
// CHECK-NOT:  atoll.exchange
module attributes {atoll.plan = "replicas=2, update=sharded", atoll.topology = "2 x cpu[1]"} {
  func.func @main(
      %key: tensor<2xui32> {atoll.path = "state['key']"},
      %count: tensor<i32> {atoll.path = "state['count']"})
      -> (tensor<2xui32> {atoll.path = "result['key']"}, tensor<i32> {atoll.path = "result['count']"}) {
    %ones = stablehlo.constant dense<1> : tensor<2xui32>
    %one = stablehlo.constant dense<1> : tensor<i32>
    %0 = stablehlo.add %key, %ones : tensor<2xui32>
    %1 = stablehlo.add %count, %one : tensor<i32>
    return %0, %1 : tensor<2xui32>, tensor<i32>
  }
}
