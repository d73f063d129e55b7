// RUN: atoll-opt %s --passes "order-sweeps" | filecheck %s

// Forward, backward and update are sweeps 0, 1 and 2, and the operations of a task stand together.

// CHECK:      sine %arg0 {atoll.stage = 0 : i32, atoll.sweep = 0 : i32}
// CHECK-NEXT: cosine %0 {atoll.stage = 1 : i32, atoll.sweep = 0 : i32}
// CHECK-NEXT: abs %1 {atoll.stage = 1 : i32, atoll.sweep = 1 : i32}
// CHECK-NEXT: multiply %2, %0 {atoll.stage = 0 : i32, atoll.sweep = 1 : i32}
// CHECK-NEXT: add %arg0, %3 {atoll.stage = 0 : i32, atoll.sweep = 2 : i32}
module attributes {atoll.stages = 2 : i32} {
  func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
    %0 = stablehlo.sine %x {atoll.stage = 0 : i32} : tensor<4xf32> loc("jit(step)/jvp(a)/sin")
    %1 = stablehlo.cosine %0 {atoll.stage = 1 : i32} : tensor<4xf32> loc("jit(step)/jvp(b)/cos")
    %2 = stablehlo.abs %1 {atoll.stage = 1 : i32} : tensor<4xf32> loc("jit(step)/transpose(jvp(b))/abs")
    %3 = stablehlo.multiply %2, %0 {atoll.stage = 0 : i32} : tensor<4xf32> loc("jit(step)/transpose(jvp(a))/mul")
    %4 = stablehlo.add %x, %3 {atoll.stage = 0 : i32} : tensor<4xf32> loc("jit(step)/add")
    return %4 : tensor<4xf32>
  }
}
