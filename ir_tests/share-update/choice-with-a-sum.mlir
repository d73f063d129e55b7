// RUN: atoll-opt %s --passes "share-update" | filecheck %s

// Nothing is exchanged within a branch, which some replicas might not enter: a choice that would need that is made
// whole.

// CHECK:      atoll.notes = [{at = ["optimizer.py", 5, 1], kind = "needed-whole", path = "state['m']", user = "cond"}]
// CHECK:      func.func @main({{.*}}, %arg1: tensor<4xf32> {atoll.path = "state['m']"})
// CHECK-NOT:  atoll.exchange
module attributes {atoll.plan = "replicas=2, update=sharded", atoll.topology = "2 x cpu[1]"} {
  func.func @main(
      %p: tensor<i32> {atoll.path = "p"}, %m: tensor<4xf32> {atoll.path = "state['m']"})
      -> (tensor<4xf32> {atoll.path = "result['m']"}) {
    %new = "stablehlo.case"(%p) ({
      stablehlo.return %m : tensor<4xf32>
    }, {
      %zero = stablehlo.constant dense<0.0> : tensor<f32>
      %norm = stablehlo.reduce(%m init: %zero) applies stablehlo.add across dimensions = [0]
          : (tensor<4xf32>, tensor<f32>) -> tensor<f32>
      %all = stablehlo.broadcast_in_dim %norm, dims = [] : (tensor<f32>) -> tensor<4xf32>
      %scaled = stablehlo.divide %m, %all : tensor<4xf32>
      stablehlo.return %scaled : tensor<4xf32>
    }) : (tensor<i32>) -> tensor<4xf32> loc("jit(f)/cond"("optimizer.py":5:1))
    return %new : tensor<4xf32>
  }
}
