// RUN: atoll-opt %s --passes "fold-batch" | filecheck %s

// With one microbatch on one replica there is nothing to fold.

// CHECK: func.func @main([[X:%.*]]: tensor<8xf32> {atoll.batch, atoll.path = "x"})
// CHECK-NEXT: stablehlo.negate [[X]] : tensor<8xf32>
module attributes {atoll.plan = "microbatches=1"} {
  func.func @main(%x: tensor<8xf32> {atoll.path = "x", atoll.batch}) -> (tensor<8xf32> {atoll.path = "y"}) {
    %0 = stablehlo.negate %x : tensor<8xf32>
    return %0 : tensor<8xf32>
  }
}
