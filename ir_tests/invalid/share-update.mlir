// RUN: atoll-opt %s --passes "share-update" --verify-diagnostics --split-input-file

// An update is shared once.

module attributes {atoll.plan = "replicas=2, update=sharded", atoll.topology = "2 x cpu[1]"} {
  // expected-error @below {{the update is shared already; run share-update once}}
  func.func @main(%m: tensor<2xf32> {atoll.path = "state['m']", atoll.share = 0 : i32})
      -> (tensor<2xf32> {atoll.path = "result['m']", atoll.share = 0 : i32}) {
    return %m : tensor<2xf32>
  }
}
