// RUN: atoll-opt %s --passes "copy-cheap-operations" | filecheck %s

// A constant that two stages use is made in each of them, directly before its first use there.

// CHECK:      [[ONE:%.*]] = stablehlo.constant {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} dense<1.0
// CHECK-NEXT: [[X:%.*]] = stablehlo.add %arg0, [[ONE]] {atoll.stage = 0
// CHECK-NEXT: [[Y:%.*]] = stablehlo.add [[X]], [[ONE]] {atoll.stage = 0
// CHECK-NEXT: [[OTHER:%.*]] = stablehlo.constant {atoll.stage = 1 : i32, atoll.sweep = 0 : i32} dense<1.0
// CHECK-NEXT: stablehlo.add [[Y]], [[OTHER]] {atoll.stage = 1
// CHECK-NEXT: return
module attributes {atoll.stages = 2 : i32} {
  func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
    %c = stablehlo.constant dense<1.0> : tensor<4xf32>
    %0 = stablehlo.add %x, %c {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<4xf32>
    %1 = stablehlo.add %0, %c {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<4xf32>
    %2 = stablehlo.add %1, %c {atoll.stage = 1 : i32, atoll.sweep = 0 : i32} : tensor<4xf32>
    return %2 : tensor<4xf32>
  }
}
