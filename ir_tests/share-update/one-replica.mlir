// RUN: atoll-opt %s --passes "share-update" | filecheck %s

// With one replica there is nobody to share with, and the module says so.

// CHECK:     atoll.notes = [{{.*}}kind = "one-replica"}]
// CHECK-NOT: atoll.exchange
module attributes {atoll.plan = "replicas=1, update=sharded", atoll.topology = "2 x cpu[1]"} {
  func.func @main(%m: tensor<4xf32> {atoll.path = "state['m']"}) -> (tensor<4xf32> {atoll.path = "result['m']"}) {
    %0 = stablehlo.negate %m : tensor<4xf32>
    return %0 : tensor<4xf32>
  }
}
