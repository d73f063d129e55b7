// RUN: atoll-opt %s --passes "keep-less" | filecheck %s

// The factor of a derivative is made on the way forward. What it is made of is kept for the way back as well, so the
// factor need not be: two operations move, of which the first alone would change nothing. The last one stays where it
// is, as it would take another value in place of its own.

// CHECK:      tanh {{.*}} {atoll.stage = 0 : i32, atoll.sweep = 0 : i32}
// CHECK-NEXT: multiply {{.*}} {atoll.stage = 0 : i32, atoll.sweep = 1 : i32}
// CHECK-NEXT: negate {{.*}} {atoll.stage = 0 : i32, atoll.sweep = 1 : i32}
// CHECK-NEXT: sine {{.*}} {atoll.stage = 0 : i32, atoll.sweep = 0 : i32}
// CHECK-NEXT: cosine {{.*}} {atoll.stage = 0 : i32, atoll.sweep = 0 : i32}
module attributes {atoll.stages = 1 : i32} {
  func.func @main(%x: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>) {
    %y = stablehlo.tanh %x {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<4xf32>
    %0 = stablehlo.multiply %y, %y {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<4xf32>
    %f = stablehlo.negate %0 {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<4xf32>
    %s = stablehlo.sine %y {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<4xf32>
    %g = stablehlo.cosine %s {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<4xf32>
    %z = stablehlo.abs %s {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<4xf32>
    %1 = stablehlo.multiply %f, %y {atoll.stage = 0 : i32, atoll.sweep = 1 : i32} : tensor<4xf32>
    %2 = stablehlo.multiply %1, %g {atoll.stage = 0 : i32, atoll.sweep = 1 : i32} : tensor<4xf32>
    return %2, %z : tensor<4xf32>, tensor<4xf32>
  }
}
