// RUN: atoll-opt %s --passes "make-fragments" | filecheck %s

// All replicas do the same, so fragments are there for the islands of the first one alone.

// CHECK:     topology = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1"
// CHECK:     func.func private @microbatch(
// CHECK:     mpmd.fragment<mesh="island0", origin=["F0"]>
// CHECK:     mpmd.fragment<mesh="island1", origin=["F1"]>
// CHECK-NOT: mesh="island2"
module attributes {atoll.plan = "replicas=2, stages=2", atoll.stages = 2 : i32, atoll.topology = "4 x cpu[1]"} {
  func.func @main(%x: tensor<4xf32> {atoll.path = "x", atoll.batch, atoll.parts = 2 : i32})
      -> (tensor<4xf32> {atoll.path = "y", atoll.parts = 2 : i32}) {
    %none = stablehlo.constant {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} dense<0.0> : tensor<4xf32>
    %0 = mpmd.for (%none) {atoll.role = "F", atoll.parts = array<i64: 0>, iterations = 2 : ui32}
        (%p: tensor<4xf32>, %i: tensor<ui32>) {
      %1 = stablehlo.negate %x {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<4xf32>
      %2 = stablehlo.cosine %1 {atoll.stage = 1 : i32, atoll.sweep = 0 : i32} : tensor<4xf32>
      mpmd.return %2 : tensor<4xf32>
    } : tensor<4xf32>
    return %0 : tensor<4xf32>
  }
}
