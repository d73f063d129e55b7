// RUN: atoll-opt %s --passes "inline-calls, symbol-dce" | filecheck %s

// Calls are inlined where they stand: in the regions of a loop and of a branch, with values from outside too.

// CHECK-LABEL: @main(%arg0
// CHECK:       stablehlo.while([[I:%.*]] = %arg0)
// CHECK:       cond {
// CHECK-NEXT:    [[LESS:%.*]] = stablehlo.compare LT, [[I]], %arg1
// CHECK-NEXT:    stablehlo.return [[LESS]]
// CHECK:       } do {
// CHECK-NEXT:    [[NEXT:%.*]] = stablehlo.add [[I]], %arg1
// CHECK-NEXT:    stablehlo.return [[NEXT]]
// CHECK:       "stablehlo.case"
// CHECK-NEXT:    stablehlo.add {{%.*}}, %arg1
// CHECK-NOT:   call
func.func @main(%x: tensor<i32>, %limit: tensor<i32>) -> tensor<i32> {
  %y = stablehlo.while(%i = %x) : tensor<i32>
    cond {
      %more = func.call @is_less(%i, %limit) : (tensor<i32>, tensor<i32>) -> tensor<i1>
      stablehlo.return %more : tensor<i1>
    } do {
      %next = func.call @sum(%i, %limit) : (tensor<i32>, tensor<i32>) -> tensor<i32>
      stablehlo.return %next : tensor<i32>
    }
  %z = "stablehlo.case"(%x) ({
    %sum = func.call @sum(%y, %limit) : (tensor<i32>, tensor<i32>) -> tensor<i32>
    stablehlo.return %sum : tensor<i32>
  }) : (tensor<i32>) -> tensor<i32>
  return %z : tensor<i32>
}

func.func private @is_less(%x: tensor<i32>, %y: tensor<i32>) -> tensor<i1> {
  %less = stablehlo.compare LT, %x, %y : (tensor<i32>, tensor<i32>) -> tensor<i1>
  return %less : tensor<i1>
}

func.func private @sum(%x: tensor<i32>, %y: tensor<i32>) -> tensor<i32> {
  %sum = stablehlo.add %x, %y : tensor<i32>
  return %sum : tensor<i32>
}
