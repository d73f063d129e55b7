// RUN: atoll-opt %s --passes "verify-timed" | filecheck %s

// Without microbatches the batch stays whole.

// CHECK: module attributes {atoll.phase = "timed"}
module attributes {atoll.phase = "stablehlo"} {
  func.func @main(%x: tensor<2xf32> {atoll.path = "x", atoll.batch}) -> (tensor<2xf32> {atoll.path = "y"}) {
    return %x : tensor<2xf32>
  }
}
