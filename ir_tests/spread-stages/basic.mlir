// RUN: atoll-opt %s --passes "spread-stages" | filecheck %s
// RUN: atoll-opt %s --passes "spread-stages" --verify-diagnostics

// The small value crosses, not the large one that it is made from.
// expected-remark @unknown {{4 B cross between stages: the least possible for the operations the plan leaves open}}

// CHECK:      atoll.notes = [{at_least = 4 : i64, bytes = 4 : i64, kind = "traffic"
// CHECK:      constant dense<0.000000e+00> : tensor<f32>
// CHECK-NEXT: negate %arg0 {atoll.stage = 0 : i32}
// CHECK-NEXT: cosine %0 {atoll.stage = 0 : i32}
// CHECK-NEXT: reduce(%1 init: %cst) applies stablehlo.add across dimensions = [0] {atoll.stage = 0 : i32}
// CHECK-NEXT: sine %2 {atoll.stage = 1 : i32}
module attributes {atoll.stages = 2 : i32} {
  func.func @main(%x: tensor<4xf32>) -> tensor<f32> {
    %c = stablehlo.constant dense<0.0> : tensor<f32>
    %0 = stablehlo.negate %x {atoll.stage = 0 : i32} : tensor<4xf32>
    %1 = stablehlo.cosine %0 : tensor<4xf32>
    %2 = stablehlo.reduce(%1 init: %c) applies stablehlo.add across dimensions = [0] : (tensor<4xf32>, tensor<f32>)
        -> tensor<f32>
    %3 = stablehlo.sine %2 {atoll.stage = 1 : i32} : tensor<f32>
    return %3 : tensor<f32>
  }
}
