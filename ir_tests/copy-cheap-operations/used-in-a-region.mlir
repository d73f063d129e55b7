// RUN: atoll-opt %s --passes "copy-cheap-operations" | filecheck %s

// A region uses the copy of the operation that it belongs to, which stands directly before that operation.

// CHECK:      [[C:%.*]] = stablehlo.constant {atoll.stage = 1 : i32, atoll.sweep = 0 : i32} dense<1.0
// CHECK-NEXT: "stablehlo.if"(%arg1)
// CHECK-NEXT:   stablehlo.add %arg0, [[C]]
// CHECK-NOT:  constant
module attributes {atoll.stages = 2 : i32} {
  func.func @main(%x: tensor<4xf32>, %p: tensor<i1>) -> tensor<4xf32> {
    %c = stablehlo.constant dense<1.0> : tensor<4xf32>
    %0 = "stablehlo.if"(%p) ({
      %1 = stablehlo.add %x, %c : tensor<4xf32>
      stablehlo.return %1 : tensor<4xf32>
    }, {
      stablehlo.return %c : tensor<4xf32>
    }) {atoll.stage = 1 : i32, atoll.sweep = 0 : i32} : (tensor<i1>) -> tensor<4xf32>
    return %0 : tensor<4xf32>
  }
}
