// RUN: atoll-opt %s --passes "make-again" | filecheck %s

// Two values are made again, the second of the first as it was made again, although the way back takes it earlier.

// CHECK:      [[FIRST:%.*]] = stablehlo.negate {{%.*}} {atoll.stage = 0 : i32, atoll.sweep = 1 : i32}
// CHECK:      [[SECOND:%.*]] = stablehlo.divide [[FIRST]], {{%.*}} {atoll.stage = 0 : i32, atoll.sweep = 1 : i32}
// CHECK:      add {{%.*}}, [[SECOND]]
// CHECK-NEXT: subtract {{%.*}}, [[FIRST]]
module attributes {atoll.stages = 1 : i32} {
  func.func @main(%x: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>) {
    %a = stablehlo.sine %x {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<4xf32>
    %n = stablehlo.negate %a {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<4xf32>
    %m = stablehlo.divide %n, %a {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<4xf32>
    %y = stablehlo.tanh %m {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<4xf32>
    %0 = stablehlo.add %a, %m {atoll.stage = 0 : i32, atoll.sweep = 1 : i32} : tensor<4xf32>
    %1 = stablehlo.subtract %0, %n {atoll.stage = 0 : i32, atoll.sweep = 1 : i32} : tensor<4xf32>
    return %1, %y : tensor<4xf32>, tensor<4xf32>
  }
}
