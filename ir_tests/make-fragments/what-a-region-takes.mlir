// RUN: atoll-opt %s --passes "make-fragments" | filecheck %s

// What a region takes from outside enters the fragment like an operand.

// CHECK:      mpmd.fragment<mesh="island1", origin=["F1"]> (%arg1, {{%[0-9]+}})
// CHECK-SAME:   ([[P:%.*]]: tensor<i1>, [[X:%.*]]: tensor<4xf32>) {
// CHECK-NEXT:   "stablehlo.if"([[P]])
// CHECK-NEXT:     stablehlo.return [[X]]
module attributes {atoll.stages = 2 : i32, atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: tensor<4xf32>, %p: tensor<i1>) -> tensor<4xf32> {
    %0 = stablehlo.negate %x {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<4xf32>
    %1 = "stablehlo.if"(%p) ({
      stablehlo.return %0 : tensor<4xf32>
    }, {
      %2 = stablehlo.negate %0 : tensor<4xf32>
      stablehlo.return %2 : tensor<4xf32>
    }) {atoll.stage = 1 : i32, atoll.sweep = 0 : i32} : (tensor<i1>) -> tensor<4xf32>
    return %1 : tensor<4xf32>
  }
}
