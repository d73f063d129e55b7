// RUN: atoll-opt %s --passes "cut-automatically" | filecheck %s

// A model of two layers goes over two inputs, first over %x and then over %y. Each layer is on one stage for both, so
// that no parameter crosses. The order of the program does not change.

// CHECK:      dot_general %arg0, %arg2{{.*}} {atoll.stage = 0 : i32}
// CHECK-NEXT: dot_general %0, %arg3{{.*}} {atoll.stage = 1 : i32}
// CHECK-NEXT: dot_general %arg1, %arg2{{.*}} {atoll.stage = 0 : i32}
// CHECK-NEXT: dot_general %2, %arg3{{.*}} {atoll.stage = 1 : i32}
// CHECK-NEXT: subtract {{.*}} {atoll.stage = 1 : i32}
module attributes {atoll.plan = "stages=2", atoll.stages = 2 : i32} {
  func.func @main(%x: tensor<2x8xf32> {atoll.batch}, %y: tensor<2x8xf32> {atoll.batch}, %a: tensor<8x8xf32>,
      %b: tensor<8x8xf32>) -> tensor<2x8xf32> {
    %0 = stablehlo.dot_general %x, %a, contracting_dims = [1] x [0] : (tensor<2x8xf32>, tensor<8x8xf32>)
        -> tensor<2x8xf32>
    %1 = stablehlo.dot_general %0, %b, contracting_dims = [1] x [0] : (tensor<2x8xf32>, tensor<8x8xf32>)
        -> tensor<2x8xf32>
    %2 = stablehlo.dot_general %y, %a, contracting_dims = [1] x [0] : (tensor<2x8xf32>, tensor<8x8xf32>)
        -> tensor<2x8xf32>
    %3 = stablehlo.dot_general %2, %b, contracting_dims = [1] x [0] : (tensor<2x8xf32>, tensor<8x8xf32>)
        -> tensor<2x8xf32>
    %4 = stablehlo.subtract %1, %3 : tensor<2x8xf32>
    return %4 : tensor<2x8xf32>
  }
}
