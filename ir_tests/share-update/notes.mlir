// RUN: atoll-opt %s --passes "share-update" --verify-diagnostics --split-input-file


// With one replica there is nobody to share the update with, though the plan asks for it.
module attributes {atoll.plan = "replicas=1, update=sharded", atoll.topology = "2 x cpu[1]"} {
  // expected-remark @below {{not shared by replicas: the update, as there is one replica}}
  func.func @main(%m: tensor<4xf32> {atoll.path = "state"}) -> (tensor<4xf32> {atoll.path = "result"}) {
    %0 = stablehlo.negate %m : tensor<4xf32>
    return %0 : tensor<4xf32>
  }
}

// -----

// Of a stack that is split by layers each piece has to have equal shares; one note is enough for all of them.
module attributes {atoll.plan = "replicas=2, update=sharded", atoll.topology = "2 x cpu[1]"} {
  func.func @main(
      // expected-remark @unknown {{not shared by replicas: state['w'], in pieces of 1 x 3, which has no dimension that 2 replicas share evenly}}
      %a: tensor<1x3xf32> {atoll.path = "state['w']", atoll.piece = array<i64: 0, 0, 2>} loc("step.mlir":1:1),
      %b: tensor<1x3xf32> {atoll.path = "state['w']", atoll.piece = array<i64: 0, 1, 2>} loc("step.mlir":1:1))
      -> (tensor<1x3xf32> {atoll.path = "result['w']", atoll.piece = array<i64: 0, 0, 2>}, tensor<1x3xf32> {atoll.path = "result['w']", atoll.piece = array<i64: 0, 1, 2>}) {
    %0 = stablehlo.negate %a : tensor<1x3xf32>
    %1 = stablehlo.negate %b : tensor<1x3xf32>
    return %0, %1 : tensor<1x3xf32>, tensor<1x3xf32>
  }
}
