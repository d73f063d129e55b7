// RUN: atoll-opt %s --passes "share-update" | filecheck %s
// RUN: atoll-opt %s --passes "share-update" --verify-diagnostics

// What is made in shares and needed whole is gathered, and a count along the shared dimension begins where the own
// share begins.

// expected-remark @unknown {{not shared by replicas: tensor<4xf32>, which is gathered for sort}}
// CHECK:      atoll.notes = [{at = ["optimizer.py", 9, 1], kind = "gathered", type = "tensor<4xf32>", user = "sort"}]
// CHECK:      [[BEGINS:%.*]] = stablehlo.constant dense<[0, 2]> : tensor<2xui32>
// CHECK-NEXT: [[OWN:%.*]] = stablehlo.custom_call @atoll.exchange([[BEGINS]])
// CHECK-SAME:   {atoll.exchange = "share", atoll.share = 0 : i32
// CHECK-NEXT: stablehlo.reshape [[OWN]] : (tensor<1xui32>) -> tensor<ui32>
// CHECK:      [[M:%.*]] = stablehlo.add %arg0, {{.*}} : tensor<2xf32>
// CHECK:      [[ALL:%.*]] = stablehlo.custom_call @atoll.exchange([[M]]) {atoll.exchange = "gather"
// CHECK-NEXT: "stablehlo.sort"([[ALL]])
module attributes {atoll.plan = "replicas=2, update=sharded", atoll.topology = "2 x cpu[1]"} {
  func.func @main(%m: tensor<4xf32> {atoll.path = "state['m']"})
      -> (tensor<4xf32> {atoll.path = "result['m']"}, tensor<4xf32> {atoll.path = "result['sorted']"}) {
    %number = stablehlo.iota dim = 0 : tensor<4xf32>
    %0 = stablehlo.add %m, %number : tensor<4xf32>
    %1 = "stablehlo.sort"(%0) <{dimension = 0 : i64, is_stable = true}> ({
    ^bb0(%x: tensor<f32>, %y: tensor<f32>):
      %less = stablehlo.compare LT, %x, %y : (tensor<f32>, tensor<f32>) -> tensor<i1>
      stablehlo.return %less : tensor<i1>
    }) : (tensor<4xf32>) -> tensor<4xf32> loc("jit(f)/sort"("optimizer.py":9:1))
    return %0, %1 : tensor<4xf32>, tensor<4xf32>
  }
}
