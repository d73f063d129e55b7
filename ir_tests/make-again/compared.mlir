// RUN: atoll-opt %s --passes "make-again" | filecheck %s

// The way back looks for the greatest of the shares, which has to have the bits of the share that it is. So the shares
// are kept; what is only multiplied there is made again.

// CHECK:      [[SHARES:%.*]] = stablehlo.divide %arg0, [[EXP:%.*]] {atoll.stage = 0 : i32, atoll.sweep = 0 : i32}
// CHECK-NEXT: divide [[EXP]], %arg0 {atoll.stage = 0 : i32, atoll.sweep = 0 : i32}
// CHECK-NEXT: [[BACK:%.*]] = stablehlo.divide [[EXP]], %arg0 {atoll.stage = 0 : i32, atoll.sweep = 1 : i32}
// CHECK:      [[TWICE:%.*]] = stablehlo.negate [[SHARES]]
// CHECK-NEXT: [[AGAIN:%.*]] = stablehlo.negate [[TWICE]]
// CHECK-NEXT: compare EQ, [[AGAIN]]
// CHECK:      multiply [[BACK]]
module attributes {atoll.stages = 1 : i32} {
  func.func @main(%x: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>, tensor<f32>, tensor<4xf32>) {
    %e = stablehlo.exponential %x {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<4xf32>
    %q = stablehlo.divide %x, %e {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<4xf32>
    %r = stablehlo.divide %e, %x {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<4xf32>
    %low = stablehlo.constant dense<0xFF800000> : tensor<f32>
    %m = stablehlo.reduce(%q init: %low) applies stablehlo.maximum across dimensions = [0]
        {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : (tensor<4xf32>, tensor<f32>) -> tensor<f32>
    %y = stablehlo.add %q, %r {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<4xf32>
    %b = stablehlo.broadcast_in_dim %m, dims = [] {atoll.stage = 0 : i32, atoll.sweep = 1 : i32}
        : (tensor<f32>) -> tensor<4xf32>
    %n = stablehlo.negate %q {atoll.stage = 0 : i32, atoll.sweep = 1 : i32} : tensor<4xf32>
    %p = stablehlo.negate %n {atoll.stage = 0 : i32, atoll.sweep = 1 : i32} : tensor<4xf32>
    %c = stablehlo.compare EQ, %p, %b {atoll.stage = 0 : i32, atoll.sweep = 1 : i32}
        : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xi1>
    %0 = stablehlo.select %c, %x, %e {atoll.stage = 0 : i32, atoll.sweep = 1 : i32} : tensor<4xi1>, tensor<4xf32>
    %1 = stablehlo.multiply %r, %0 {atoll.stage = 0 : i32, atoll.sweep = 1 : i32} : tensor<4xf32>
    return %0, %1, %m, %y : tensor<4xf32>, tensor<4xf32>, tensor<f32>, tensor<4xf32>
  }
}
