// RUN: atoll-opt %s --passes "cut-automatically" | filecheck %s

// The head takes the table of the embedding, transposed. That is done on the head's stage, which the table reaches once
// in a step; what is made of it beside the embedding would cross with every microbatch.

// CHECK: dot_general %arg0, %arg1, {{.*}} {atoll.stage = 0 : i32}
// CHECK: dot_general {{.*}} {atoll.stage = 0 : i32}
// CHECK: dot_general {{.*}} {atoll.stage = 1 : i32}
// CHECK: transpose %arg1, dims = [1, 0] {atoll.stage = 1 : i32}
// CHECK: dot_general {{.*}} {atoll.stage = 1 : i32}
module attributes {atoll.stages = 2 : i32} {
  func.func @main(%x: tensor<4x8xf32>, %table: tensor<8x4xf32>, %a: tensor<4x4xf32>, %b: tensor<4x4xf32>)
      -> tensor<4x8xf32> {
    %0 = stablehlo.dot_general %x, %table, contracting_dims = [1] x [0] : (tensor<4x8xf32>, tensor<8x4xf32>)
        -> tensor<4x4xf32>
    %1 = stablehlo.dot_general %0, %a, contracting_dims = [1] x [0] : (tensor<4x4xf32>, tensor<4x4xf32>)
        -> tensor<4x4xf32>
    %2 = stablehlo.dot_general %1, %b, contracting_dims = [1] x [0] : (tensor<4x4xf32>, tensor<4x4xf32>)
        -> tensor<4x4xf32>
    %3 = stablehlo.transpose %table, dims = [1, 0] : (tensor<8x4xf32>) -> tensor<4x8xf32>
    %4 = stablehlo.dot_general %2, %3, contracting_dims = [1] x [0] : (tensor<4x4xf32>, tensor<4x8xf32>)
        -> tensor<4x8xf32>
    return %4 : tensor<4x8xf32>
  }
}
