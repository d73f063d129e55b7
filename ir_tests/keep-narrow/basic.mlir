// RUN: atoll-opt %s --passes "keep-narrow" | filecheck %s

// The way back only multiplies the first value, as it is and turned, so it is kept in bfloat16. The product of its own
// sweep takes it from there too; what else needs it has it as it is. The second value is added to something.

// CHECK:      [[MADE:%.*]] = stablehlo.tanh
// CHECK-NEXT: [[KEPT:%.*]] = stablehlo.convert [[MADE]] {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : {{.*}}bf16>
// CHECK-NEXT: sine [[MADE]]
// CHECK-NEXT: [[BESIDE:%.*]] = stablehlo.convert [[KEPT]] {atoll.stage = 0 : i32, atoll.sweep = 0 : i32}
// CHECK-NEXT: dot_general [[BESIDE]]
// CHECK-NEXT: [[BACK:%.*]] = stablehlo.convert [[KEPT]] {atoll.stage = 0 : i32, atoll.sweep = 1 : i32}
// CHECK-NEXT: [[TURNED:%.*]] = stablehlo.transpose [[BACK]]
// CHECK-NEXT: [[PRODUCT:%.*]] = stablehlo.dot_general [[TURNED]], [[BACK]]
// CHECK-NEXT: add [[PRODUCT]], {{%.*}} {atoll.stage = 0 : i32, atoll.sweep = 1 : i32}
module attributes {atoll.stages = 1 : i32, atoll.topology = "1 x v5e[1x1]"} {
  func.func @main(%x: tensor<4x4xf32>) -> (tensor<4x4xf32>, tensor<4x4xf32>) {
    %y = stablehlo.tanh %x {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<4x4xf32>
    %s = stablehlo.sine %y {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<4x4xf32>
    %z = stablehlo.dot_general %y, %x, contracting_dims = [1] x [0] {atoll.stage = 0 : i32, atoll.sweep = 0 : i32}
        : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
    %t = stablehlo.transpose %y, dims = [1, 0] {atoll.stage = 0 : i32, atoll.sweep = 1 : i32}
        : (tensor<4x4xf32>) -> tensor<4x4xf32>
    %0 = stablehlo.dot_general %t, %y, contracting_dims = [1] x [0], precision = [DEFAULT, DEFAULT]
        {atoll.stage = 0 : i32, atoll.sweep = 1 : i32} : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
    %1 = stablehlo.add %0, %s {atoll.stage = 0 : i32, atoll.sweep = 1 : i32} : tensor<4x4xf32>
    return %1, %z : tensor<4x4xf32>, tensor<4x4xf32>
  }
}
