// RUN: atoll-opt %s --passes "keep-narrow" | filecheck %s

// A loop on the way back multiplies a matrix of what is kept in each iteration, and hands all of it on: it is kept in
// bfloat16. A second stack is returned by the loop, so that this stays as it is.

// CHECK:      stablehlo.tanh
// CHECK-NEXT: stablehlo.convert {{.*}} : (tensor<3x4x4xf32>) -> tensor<3x4x4xbf16>
// CHECK:      [[WIDE:%.*]] = stablehlo.convert {{.*}} : (tensor<3x4x4xbf16>) -> tensor<3x4x4xf32>
// CHECK-NOT:  convert
// CHECK:      while({{.*}} = [[WIDE]]
module attributes {atoll.stages = 1 : i32, atoll.topology = "1 x v4[2x2x1]"} {
  func.func @main(%x: tensor<3x4x4xf32>) -> (tensor<4x4xf32>, tensor<3x4x4xf32>, tensor<3x4x4xf32>) {
    %h = stablehlo.tanh %x {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<3x4x4xf32>
    %g = stablehlo.sine %x {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<3x4x4xf32>
    %y = stablehlo.cosine %g {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<3x4x4xf32>
    %zero = stablehlo.constant dense<0> : tensor<i32>
    %none = stablehlo.constant dense<0.0> : tensor<4x4xf32>
    %0:4 = stablehlo.while(%i = %zero, %all = %h, %other = %g, %d = %none)
        : tensor<i32>, tensor<3x4x4xf32>, tensor<3x4x4xf32>, tensor<4x4xf32>
        attributes {atoll.stage = 0 : i32, atoll.sweep = 1 : i32}
    cond {
      %last = stablehlo.constant dense<3> : tensor<i32>
      %2 = stablehlo.compare LT, %i, %last : (tensor<i32>, tensor<i32>) -> tensor<i1>
      stablehlo.return %2 : tensor<i1>
    } do {
      %one = stablehlo.constant dense<1> : tensor<i32>
      %from = stablehlo.constant dense<0> : tensor<i32>
      %piece = stablehlo.dynamic_slice %all, %i, %from, %from, sizes = [1, 4, 4]
          : (tensor<3x4x4xf32>, tensor<i32>, tensor<i32>, tensor<i32>) -> tensor<1x4x4xf32>
      %matrix = stablehlo.reshape %piece : (tensor<1x4x4xf32>) -> tensor<4x4xf32>
      %2 = stablehlo.dot_general %matrix, %d, contracting_dims = [1] x [0]
          : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
      %3 = stablehlo.add %i, %one : tensor<i32>
      stablehlo.return %3, %all, %other, %2 : tensor<i32>, tensor<3x4x4xf32>, tensor<3x4x4xf32>, tensor<4x4xf32>
    }
    return %0#3, %0#2, %y : tensor<4x4xf32>, tensor<3x4x4xf32>, tensor<3x4x4xf32>
  }
}
