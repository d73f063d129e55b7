// RUN: atoll-opt %s --passes "cut-segments" | filecheck %s

// A stage with one operation has one segment, and the others of it stay empty.

// CHECK:      atoll.stages = 6 : i32
// CHECK:      sine %arg0 {atoll.stage = 0 : i32}
// CHECK-NEXT: cosine %0 {atoll.stage = 3 : i32}
// CHECK-NEXT: tan %1 {atoll.stage = 4 : i32}
module attributes {atoll.plan = "stages=2, segments=3", atoll.stages = 2 : i32,
    atoll.topology = "island a : cpu[1]\nisland b : cpu[1]"} {
  func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
    %0 = stablehlo.sine %x {atoll.stage = 0 : i32} : tensor<4xf32>
    %1 = stablehlo.cosine %0 {atoll.stage = 1 : i32} : tensor<4xf32>
    %2 = stablehlo.tan %1 {atoll.stage = 1 : i32} : tensor<4xf32>
    return %2 : tensor<4xf32>
  }
}
