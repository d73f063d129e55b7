// RUN: atoll-opt %s --passes "cut-automatically" | filecheck %s

// Each of two blocks is computed again as a whole, as by `jax.checkpoint`, which puts the parameters of a block into
// one barrier: what passes it belongs to whatever takes what went in. The middle of the second block would be that of
// the work, and as little crosses there as between blocks; but the cut is where the block begins.

// CHECK:      dot_general %arg0, %arg1, {{.*}} {atoll.stage = 0 : i32}
// CHECK-NEXT: dot_general {{%.*}}, %arg2, {{.*}} {atoll.stage = 0 : i32}
// CHECK-NEXT: dot_general {{%.*}}, %arg3, {{.*}} {atoll.stage = 1 : i32}
// CHECK-NEXT: dot_general {{%.*}}, %arg4, {{.*}} {atoll.stage = 1 : i32}
// CHECK-NEXT: dot_general {{%.*}}, %arg5, {{.*}} {atoll.stage = 1 : i32}
!x = tensor<8x8xf32>
module attributes {atoll.plan = "stages=2", atoll.stages = 2 : i32} {
  func.func @main(%x: !x, %a: !x, %b: !x, %c: !x, %d: !x, %e: !x) -> !x {
    %0:3 = stablehlo.optimization_barrier %d, %d, %c : !x, !x, !x loc("jit(step)/transpose(jvp())/remat2")
    %1:2 = stablehlo.optimization_barrier %a, %b : !x, !x loc("jit(step)/transpose(jvp())/remat2")
    %2 = stablehlo.dot_general %x, %a, contracting_dims = [1] x [0] : (!x, !x) -> !x loc("jit(step)/jvp()/dot_general")
    %3 = stablehlo.dot_general %2, %b, contracting_dims = [1] x [0] : (!x, !x) -> !x loc("jit(step)/jvp()/dot_general")
    %4 = stablehlo.dot_general %3, %c, contracting_dims = [1] x [0] : (!x, !x) -> !x loc("jit(step)/jvp()/dot_general")
    %5 = stablehlo.dot_general %4, %d, contracting_dims = [1] x [0] : (!x, !x) -> !x loc("jit(step)/jvp()/dot_general")
    %6 = stablehlo.dot_general %5, %e, contracting_dims = [1] x [0] : (!x, !x) -> !x loc("jit(step)/jvp()/dot_general")
    %7 = stablehlo.dot_general %6, %e, contracting_dims = [1] x [0] : (!x, !x) -> !x loc("jit(step)/jvp()/dot_general")
    %8 = stablehlo.dot_general %7, %e, contracting_dims = [1] x [0] : (!x, !x) -> !x loc("jit(step)/jvp()/dot_general")
    %9 = stablehlo.dot_general %8, %e, contracting_dims = [1] x [0] : (!x, !x) -> !x loc("jit(step)/jvp()/dot_general")
    %10 = stablehlo.dot_general %3, %0#2, contracting_dims = [1] x [0] : (!x, !x) -> !x
        loc("jit(step)/transpose(jvp())/checkpoint/rematted_computation/dot_general")
    %11 = stablehlo.dot_general %10, %0#1, contracting_dims = [1] x [0] : (!x, !x) -> !x
        loc("jit(step)/transpose(jvp())/checkpoint/rematted_computation/dot_general")
    %12 = stablehlo.dot_general %x, %1#0, contracting_dims = [1] x [0] : (!x, !x) -> !x
        loc("jit(step)/transpose(jvp())/checkpoint/rematted_computation/dot_general")
    %13 = stablehlo.dot_general %12, %1#1, contracting_dims = [1] x [0] : (!x, !x) -> !x
        loc("jit(step)/transpose(jvp())/checkpoint/rematted_computation/dot_general")
    %14 = stablehlo.multiply %11, %13 : !x loc("jit(step)/transpose(jvp())/mul")
    %15 = stablehlo.multiply %9, %14 : !x loc("jit(step)/transpose(jvp())/mul")
    return %15 : !x
  }
}
