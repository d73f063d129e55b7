// RUN: atoll-opt %s --passes "cut-automatically" | filecheck %s

// Least crosses behind the first layer, and then as much everywhere: no place is better than its neighbours. As a cut
// behind the first layer leaves the stages uneven, it is where they are even.

// CHECK:      dot_general %arg0, {{.*}} {atoll.stage = 0 : i32}
// CHECK-NEXT: dot_general %0, {{.*}} {atoll.stage = 0 : i32}
// CHECK-NEXT: dot_general %1, {{.*}} {atoll.stage = 0 : i32}
// CHECK-NEXT: dot_general %2, {{.*}} {atoll.stage = 1 : i32}
// CHECK-NEXT: dot_general %3, {{.*}} {atoll.stage = 1 : i32}
module attributes {atoll.plan = "stages=2", atoll.stages = 2 : i32} {
  func.func @main(%x: tensor<8x8xf32>, %a: tensor<8x4xf32>, %b: tensor<4x8xf32>, %c: tensor<8x8xf32>,
      %d: tensor<8x8xf32>, %e: tensor<8x8xf32>) -> tensor<8x8xf32> {
    %0 = stablehlo.dot_general %x, %a, contracting_dims = [1] x [0] : (tensor<8x8xf32>, tensor<8x4xf32>)
        -> tensor<8x4xf32>
    %1 = stablehlo.dot_general %0, %b, contracting_dims = [1] x [0] : (tensor<8x4xf32>, tensor<4x8xf32>)
        -> tensor<8x8xf32>
    %2 = stablehlo.dot_general %1, %c, contracting_dims = [1] x [0] : (tensor<8x8xf32>, tensor<8x8xf32>)
        -> tensor<8x8xf32>
    %3 = stablehlo.dot_general %2, %d, contracting_dims = [1] x [0] : (tensor<8x8xf32>, tensor<8x8xf32>)
        -> tensor<8x8xf32>
    %4 = stablehlo.dot_general %3, %e, contracting_dims = [1] x [0] : (tensor<8x8xf32>, tensor<8x8xf32>)
        -> tensor<8x8xf32>
    return %4 : tensor<8x8xf32>
  }
}
