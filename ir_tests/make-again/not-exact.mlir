// RUN: atoll-opt %s --passes "make-again" | filecheck %s

// XLA may round a product and a sum together, and leave out a conversion that another one undoes: they are kept. What
// two values that are made again are both made of, is made again once; and a scalar is kept as it is.

// CHECK-COUNT-2: negate
// CHECK-NOT:     negate
// CHECK:         [[HALF:%.*]] = stablehlo.convert %arg0
// CHECK-NOT:     convert
// CHECK:         multiply %arg0, [[SINE:%.*]] {atoll.stage = 0 : i32, atoll.sweep = 0 : i32}
// CHECK-NOT:     multiply %arg0
// CHECK:         add %arg0, [[SINE]] {atoll.stage = 0 : i32, atoll.sweep = 0 : i32}
// CHECK-NOT:     add %arg0
// CHECK:         slice [[SINE]]
// CHECK-NOT:     slice
module attributes {atoll.stages = 1 : i32} {
  func.func @main(%x: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>, tensor<4xbf16>, tensor<1xf32>) {
    %a = stablehlo.sine %x {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<4xf32>
    %n = stablehlo.negate %a {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<4xf32>
    %l = stablehlo.minimum %n, %x {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<4xf32>
    %h = stablehlo.maximum %n, %x {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<4xf32>
    %w = stablehlo.convert %x {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : (tensor<4xf32>) -> tensor<4xbf16>
    %p = stablehlo.multiply %x, %a {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<4xf32>
    %q = stablehlo.add %x, %a {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<4xf32>
    %t = stablehlo.slice %a [0:1] {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : (tensor<4xf32>) -> tensor<1xf32>
    %y = stablehlo.subtract %l, %h {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<4xf32>
    %0 = stablehlo.subtract %l, %a {atoll.stage = 0 : i32, atoll.sweep = 1 : i32} : tensor<4xf32>
    %1 = stablehlo.subtract %h, %0 {atoll.stage = 0 : i32, atoll.sweep = 1 : i32} : tensor<4xf32>
    %2 = stablehlo.subtract %p, %1 {atoll.stage = 0 : i32, atoll.sweep = 1 : i32} : tensor<4xf32>
    %3 = stablehlo.subtract %q, %2 {atoll.stage = 0 : i32, atoll.sweep = 1 : i32} : tensor<4xf32>
    %4 = stablehlo.subtract %3, %x {atoll.stage = 0 : i32, atoll.sweep = 1 : i32} : tensor<4xf32>
    %5 = stablehlo.tanh %w {atoll.stage = 0 : i32, atoll.sweep = 1 : i32} : tensor<4xbf16>
    %6 = stablehlo.tanh %t {atoll.stage = 0 : i32, atoll.sweep = 1 : i32} : tensor<1xf32>
    return %y, %4, %5, %6 : tensor<4xf32>, tensor<4xf32>, tensor<4xbf16>, tensor<1xf32>
  }
}
