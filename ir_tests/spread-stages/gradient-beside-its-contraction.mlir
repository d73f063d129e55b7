// RUN: atoll-opt %s --passes "spread-stages" | filecheck %s
// RUN: atoll-opt %s --passes "spread-stages" --verify-diagnostics

// A gradient is computed where its contraction is, though it would cost less on the other stage; the lower bound takes
// that into account.

// expected-remark @unknown {{64 B cross between stages: at most 16 B above the least possible for the operations}}
// CHECK: atoll.notes = [{at_least = 48 : i64, bytes = 64 : i64, kind = "traffic"
// CHECK: dot_general {{%.*}}, %arg1{{.*}} {atoll.stage = 0 : i32}
// CHECK: dot_general {{%.*}}, %arg2{{.*}} {atoll.stage = 1 : i32}
// CHECK: transpose %arg2{{.*}} {atoll.stage = 1 : i32}
// CHECK: dot_general {{.*}} {atoll.stage = 1 : i32}
// CHECK: transpose %arg1{{.*}} {atoll.stage = 0 : i32}
// CHECK: dot_general {{.*}} {atoll.stage = 0 : i32}
module attributes {atoll.stages = 2 : i32} {
  func.func @main(%x: tensor<4x2xf32>, %a: tensor<2x2xf32>, %b: tensor<2x2xf32>) -> tensor<4x2xf32> {
    %0 = stablehlo.dot_general %x, %a, contracting_dims = [1] x [0] {atoll.stage = 0 : i32}
        : (tensor<4x2xf32>, tensor<2x2xf32>) -> tensor<4x2xf32> loc("jit(f)/jvp()/dot")
    %1 = stablehlo.dot_general %0, %b, contracting_dims = [1] x [0] {atoll.stage = 1 : i32}
        : (tensor<4x2xf32>, tensor<2x2xf32>) -> tensor<4x2xf32> loc("jit(f)/jvp()/dot")
    %2 = stablehlo.transpose %b, dims = [1, 0] : (tensor<2x2xf32>) -> tensor<2x2xf32>
        loc("jit(f)/transpose(jvp())/transpose")
    %3 = stablehlo.dot_general %1, %2, contracting_dims = [1] x [0] : (tensor<4x2xf32>, tensor<2x2xf32>)
        -> tensor<4x2xf32> loc("jit(f)/transpose(jvp())/dot")
    %4 = stablehlo.transpose %a, dims = [1, 0] : (tensor<2x2xf32>) -> tensor<2x2xf32>
        loc("jit(f)/transpose(jvp())/transpose")
    %5 = stablehlo.dot_general %3, %4, contracting_dims = [1] x [0] : (tensor<4x2xf32>, tensor<2x2xf32>)
        -> tensor<4x2xf32> loc("jit(f)/transpose(jvp())/dot")
    return %5 : tensor<4x2xf32>
  }
}
