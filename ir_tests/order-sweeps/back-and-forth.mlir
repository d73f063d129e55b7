// RUN: atoll-opt %s --passes "order-sweeps" | filecheck %s

// Values that go against a sweep wait for the next one that goes their way.

// CHECK:      negate %arg0 {atoll.stage = 2 : i32, atoll.sweep = 0 : i32}
// CHECK-NEXT: negate %0 {atoll.stage = 0 : i32, atoll.sweep = 1 : i32}
// CHECK-NEXT: negate %1 {atoll.stage = 1 : i32, atoll.sweep = 2 : i32}
// CHECK-NEXT: negate %2 {atoll.stage = 0 : i32, atoll.sweep = 3 : i32}
// CHECK-NEXT: negate %arg0 {atoll.stage = 1 : i32, atoll.sweep = 0 : i32}
module attributes {atoll.stages = 3 : i32} {
  func.func @main(%x: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>) {
    %0 = stablehlo.negate %x {atoll.stage = 2 : i32} : tensor<4xf32>
    %1 = stablehlo.negate %0 {atoll.stage = 0 : i32} : tensor<4xf32>
    %2 = stablehlo.negate %1 {atoll.stage = 1 : i32} : tensor<4xf32>
    %3 = stablehlo.negate %2 {atoll.stage = 0 : i32} : tensor<4xf32>
    %4 = stablehlo.negate %x {atoll.stage = 1 : i32} : tensor<4xf32>
    return %3, %4 : tensor<4xf32>, tensor<4xf32>
  }
}
