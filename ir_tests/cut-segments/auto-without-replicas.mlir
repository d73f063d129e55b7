// RUN: atoll-opt %s --passes "cut-segments" | filecheck %s

// Without replicas there is nothing to exchange, and `auto` is one segment.

// CHECK:      atoll.plan = "stages=2", atoll.stages = 2 : i32
// CHECK:      sine %arg0 {atoll.stage = 0 : i32}
// CHECK-NEXT: cosine %0 {atoll.stage = 0 : i32}
module attributes {atoll.plan = "stages=2", atoll.stages = 2 : i32,
    atoll.topology = "island a : cpu[1]\nisland b : cpu[1]"} {
  func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
    %0 = stablehlo.sine %x {atoll.stage = 0 : i32} : tensor<4xf32>
    %1 = stablehlo.cosine %0 {atoll.stage = 0 : i32} : tensor<4xf32>
    return %1 : tensor<4xf32>
  }
}
