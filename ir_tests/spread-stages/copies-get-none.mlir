// RUN: atoll-opt %s --passes "spread-stages" | filecheck %s

// What is copied to each user has no stage of its own, even if a scope gave it one.

// CHECK: atoll.notes = {{.*}} bytes = 0 : i64, kind = "traffic"
// CHECK: constant dense<1.000000e+00> : tensor<4xf32>
module attributes {atoll.stages = 2 : i32} {
  func.func @main(%x: tensor<4xf32>, %y: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>) {
    %c = stablehlo.constant {atoll.stage = 0 : i32} dense<1.0> : tensor<4xf32>
    %0 = stablehlo.add %x, %c {atoll.stage = 0 : i32} : tensor<4xf32>
    %1 = stablehlo.add %y, %c {atoll.stage = 1 : i32} : tensor<4xf32>
    return %0, %1 : tensor<4xf32>, tensor<4xf32>
  }
}
