// RUN: atoll-opt %s --passes "keep-less" | filecheck %s

// Nothing else keeps what these are made of; what is smaller is kept. A conversion to a smaller type stays.

// CHECK:      reduce{{.*}} {atoll.stage = 0 : i32, atoll.sweep = 0 : i32}
// CHECK:      broadcast_in_dim {{.*}} {atoll.stage = 0 : i32, atoll.sweep = 1 : i32}
// CHECK-NEXT: convert {{.*}} {atoll.stage = 0 : i32, atoll.sweep = 0 : i32}
module attributes {atoll.stages = 1 : i32} {
  func.func @main(%x: tensor<4x8xf32>) -> tensor<4x8xf32> {
    %y = stablehlo.tanh %x {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<4x8xf32>
    %zero = stablehlo.constant dense<0.0> : tensor<f32>
    %s = stablehlo.reduce(%y init: %zero) applies stablehlo.add across dimensions = [1]
        {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : (tensor<4x8xf32>, tensor<f32>) -> tensor<4xf32>
    %b = stablehlo.broadcast_in_dim %s, dims = [0] {atoll.stage = 0 : i32, atoll.sweep = 0 : i32}
        : (tensor<4xf32>) -> tensor<4x8xf32>
    %n = stablehlo.convert %y {atoll.stage = 0 : i32, atoll.sweep = 0 : i32}
        : (tensor<4x8xf32>) -> tensor<4x8xbf16>
    %w = stablehlo.convert %n {atoll.stage = 0 : i32, atoll.sweep = 1 : i32}
        : (tensor<4x8xbf16>) -> tensor<4x8xf32>
    %0 = stablehlo.multiply %b, %w {atoll.stage = 0 : i32, atoll.sweep = 1 : i32} : tensor<4x8xf32>
    return %0 : tensor<4x8xf32>
  }
}
