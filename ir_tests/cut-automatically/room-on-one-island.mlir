// RUN: atoll-opt %s --passes "cut-automatically" | filecheck %s

// Only the second island has room for anything: the first stage stays empty.

// CHECK:      dot_general %arg0, {{.*}} {atoll.stage = 1 : i32}
// CHECK-NEXT: dot_general %0, {{.*}} {atoll.stage = 1 : i32}
// CHECK-NEXT: dot_general %1, {{.*}} {atoll.stage = 1 : i32}
// CHECK-NEXT: dot_general %2, {{.*}} {atoll.stage = 1 : i32}
module attributes {atoll.plan = "stages=2", atoll.stages = 2 : i32,
    atoll.topology = "island a : cpu[1] 100 B; island b : cpu[1]"} {
  func.func @main(%x: tensor<8x8xf32> {atoll.batch}, %a: tensor<8x8xf32>, %b: tensor<8x8xf32>, %c: tensor<8x8xf32>,
      %d: tensor<8x8xf32>) -> tensor<8x8xf32> {
    %0 = stablehlo.dot_general %x, %a, contracting_dims = [1] x [0] : (tensor<8x8xf32>, tensor<8x8xf32>)
        -> tensor<8x8xf32>
    %1 = stablehlo.dot_general %0, %b, contracting_dims = [1] x [0] : (tensor<8x8xf32>, tensor<8x8xf32>)
        -> tensor<8x8xf32>
    %2 = stablehlo.dot_general %1, %c, contracting_dims = [1] x [0] : (tensor<8x8xf32>, tensor<8x8xf32>)
        -> tensor<8x8xf32>
    %3 = stablehlo.dot_general %2, %d, contracting_dims = [1] x [0] : (tensor<8x8xf32>, tensor<8x8xf32>)
        -> tensor<8x8xf32>
    return %3 : tensor<8x8xf32>
  }
}
