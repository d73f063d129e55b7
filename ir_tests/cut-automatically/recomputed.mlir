// RUN: atoll-opt %s --passes "cut-automatically" | filecheck %s

// The second and the third layer are computed again together in the backward part. A cut between them would make what
// the first stage computes again go on to the second while gradients go back. So there is none, and a note says what is
// in one piece.

// CHECK:      atoll.notes = [{at = ["train.py", {{[23]}}, 1], kind = "uneven-stages", shares = "6%, 94%",
// CHECK-SAME:   why = "dot_general and what belongs to it, 93%, are in one piece"}]
// CHECK:      dot_general %arg0, {{.*}} {atoll.stage = 0 : i32}
// CHECK-NEXT: dot_general %0, {{.*}} {atoll.stage = 1 : i32}
// CHECK-NEXT: dot_general %1, {{.*}} {atoll.stage = 1 : i32}
// CHECK-NEXT: tanh {{.*}} {atoll.stage = 1 : i32}
module attributes {atoll.plan = "stages=2", atoll.stages = 2 : i32} {
  func.func @main(%x: tensor<8x4xf32>, %a: tensor<4x8xf32>, %b: tensor<8x16xf32>, %c: tensor<16x8xf32>)
      -> tensor<8x8xf32> {
    %0 = stablehlo.dot_general %x, %a, contracting_dims = [1] x [0] : (tensor<8x4xf32>, tensor<4x8xf32>)
        -> tensor<8x8xf32> loc("jit(step)/jvp()/dot_general"("train.py":1:1))
    %1 = stablehlo.dot_general %0, %b, contracting_dims = [1] x [0] : (tensor<8x8xf32>, tensor<8x16xf32>)
        -> tensor<8x16xf32> loc("jit(step)/jvp()/checkpoint/dot_general"("train.py":2:1))
    %2 = stablehlo.dot_general %1, %c, contracting_dims = [1] x [0] : (tensor<8x16xf32>, tensor<16x8xf32>)
        -> tensor<8x8xf32> loc("jit(step)/jvp()/checkpoint/dot_general"("train.py":3:1))
    %3 = stablehlo.tanh %2 : tensor<8x8xf32> loc("jit(step)/jvp()/tanh"("train.py":4:1))
    %4 = stablehlo.dot_general %0, %b, contracting_dims = [1] x [0] : (tensor<8x8xf32>, tensor<8x16xf32>)
        -> tensor<8x16xf32> loc("jit(step)/transpose(jvp())/checkpoint/rematted_computation/dot_general")
    %5 = stablehlo.dot_general %4, %c, contracting_dims = [1] x [0] : (tensor<8x16xf32>, tensor<16x8xf32>)
        -> tensor<8x8xf32> loc("jit(step)/transpose(jvp())/checkpoint/rematted_computation/dot_general")
    %6 = stablehlo.multiply %3, %5 : tensor<8x8xf32> loc("jit(step)/transpose(jvp())/mul")
    return %6 : tensor<8x8xf32>
  }
}
