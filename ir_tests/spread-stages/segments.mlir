// RUN: atoll-opt %s --passes "spread-stages" | filecheck %s

// Between segments of one stage nothing crosses, so only the 16 bytes between the stages count. Of the last operation
// only its stage in the plan was known.

// CHECK:      atoll.notes = [{at_least = 16 : i64, bytes = 16 : i64, kind = "traffic"
// CHECK:      sine %arg0 {atoll.stage = 0 : i32}
// CHECK-NEXT: cosine %0 {atoll.stage = 1 : i32}
// CHECK-NEXT: tan %1 {atoll.stage = 2 : i32}
// CHECK-NEXT: sine %2 {atoll.stage = 3 : i32}
// CHECK-NEXT: negate %3 {atoll.stage = 3 : i32}
// CHECK-NEXT: cosine %3 {atoll.stage = 3 : i32}
module attributes {atoll.plan = "stages=2, segments=2", atoll.stages = 4 : i32} {
  func.func @main(%x: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>) {
    %0 = stablehlo.sine %x {atoll.stage = 0 : i32} : tensor<4xf32>
    %1 = stablehlo.cosine %0 {atoll.stage = 1 : i32} : tensor<4xf32>
    %2 = stablehlo.tan %1 {atoll.stage = 2 : i32} : tensor<4xf32>
    %3 = stablehlo.sine %2 {atoll.stage = 3 : i32} : tensor<4xf32>
    %4 = stablehlo.negate %3 : tensor<4xf32>
    %5 = stablehlo.cosine %3 {atoll.planned_stage = 1 : i32} : tensor<4xf32>
    return %4, %5 : tensor<4xf32>, tensor<4xf32>
  }
}
