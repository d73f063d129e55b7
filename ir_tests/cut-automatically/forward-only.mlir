// RUN: atoll-opt %s --passes "cut-automatically" | filecheck %s

// Backward operations follow later; the cut is about the forward ones.

// CHECK:      sine %arg0 {atoll.stage = 0 : i32}
// CHECK-NEXT: cosine %0 {atoll.stage = 1 : i32}
// CHECK-NEXT: multiply %0, %1 :
// CHECK-NEXT: add %arg0, %2 :
module attributes {atoll.plan = "stages=2", atoll.stages = 2 : i32} {
  func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
    %0 = stablehlo.sine %x : tensor<4xf32> loc("jit(step)/jvp()/sin")
    %1 = stablehlo.cosine %0 : tensor<4xf32> loc("jit(step)/jvp()/cos")
    %2 = stablehlo.multiply %0, %1 : tensor<4xf32> loc("jit(step)/transpose(jvp())/mul")
    %3 = stablehlo.add %x, %2 : tensor<4xf32> loc("jit(step)/add")
    return %3 : tensor<4xf32>
  }
}
