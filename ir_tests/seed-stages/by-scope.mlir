// RUN: atoll-opt %s --passes "seed-stages" | filecheck %s

// Patterns match whole components of the scope, in the forward and in the backward pass.

// CHECK:      atoll.stages = 2
// CHECK:      negate %arg0 {atoll.stage = 0 : i32}
// CHECK-NEXT: cosine %0 {atoll.stage = 0 : i32}
// CHECK-NEXT: sine %1 {atoll.stage = 1 : i32}
// CHECK-NEXT: abs %2 {atoll.stage = 0 : i32}
// CHECK-NEXT: ceil %3 : tensor<4xf32>
// CHECK-NEXT: floor %4 : tensor<4xf32>
module attributes {atoll.plan = "stages=\"embed, layer_[0..1] | layer_[2..9]\""} {
  func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
    %0 = stablehlo.negate %x : tensor<4xf32> loc("jit(step)/jvp(embed)/neg")
    %1 = stablehlo.cosine %0 : tensor<4xf32> loc("jit(step)/jvp(layer_1)/mlp/cos")
    %2 = stablehlo.sine %1 : tensor<4xf32> loc("jit(step)/jvp(layer_2)/sin")
    %3 = stablehlo.abs %2 : tensor<4xf32> loc("jit(step)/transpose(jvp(layer_1))/mlp/abs")
    // Neither a longer number nor a name that only begins alike is meant.
    %4 = stablehlo.ceil %3 : tensor<4xf32> loc("jit(step)/layer_22/ceil")
    %5 = stablehlo.floor %4 : tensor<4xf32> loc("jit(step)/embedding/floor")
    return %5 : tensor<4xf32>
  }
}
