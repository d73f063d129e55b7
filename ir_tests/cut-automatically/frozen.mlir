// RUN: atoll-opt %s --passes "cut-automatically" | filecheck %s

// A frozen layer costs its forward part alone, and one that is trained its gradients as well. So the first stage has
// both frozen layers and the second the one that is trained, though less would cross between the frozen ones.

// CHECK:      dot_general %arg0, {{.*}} {atoll.stage = 0 : i32}
// CHECK-NEXT: dot_general %0, {{.*}} {atoll.stage = 0 : i32}
// CHECK-NEXT: dot_general %1, {{.*}} {atoll.stage = 1 : i32}
module attributes {atoll.plan = "stages=2", atoll.stages = 2 : i32} {
  func.func @main(%x: tensor<8x16xf32>, %a: tensor<16x4xf32>, %b: tensor<4x8xf32>, %w: tensor<8x8xf32>,
      %dy: tensor<8x8xf32>) -> tensor<8x8xf32> {
    %0 = stablehlo.dot_general %x, %a, contracting_dims = [1] x [0] : (tensor<8x16xf32>, tensor<16x4xf32>)
        -> tensor<8x4xf32> loc("jit(step)/jvp()/dot_general")
    %1 = stablehlo.dot_general %0, %b, contracting_dims = [1] x [0] : (tensor<8x4xf32>, tensor<4x8xf32>)
        -> tensor<8x8xf32> loc("jit(step)/jvp()/dot_general")
    %2 = stablehlo.dot_general %1, %w, contracting_dims = [1] x [0] : (tensor<8x8xf32>, tensor<8x8xf32>)
        -> tensor<8x8xf32> loc("jit(step)/jvp()/dot_general")
    %3 = stablehlo.add %2, %dy : tensor<8x8xf32> loc("jit(step)/transpose(jvp())/add")
    %4 = stablehlo.dot_general %1, %3, contracting_dims = [0] x [0] : (tensor<8x8xf32>, tensor<8x8xf32>)
        -> tensor<8x8xf32> loc("jit(step)/transpose(jvp())/dot_general")
    %5 = stablehlo.subtract %w, %4 : tensor<8x8xf32> loc("jit(step)/sub")
    return %5 : tensor<8x8xf32>
  }
}
