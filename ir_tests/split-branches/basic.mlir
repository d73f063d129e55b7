// RUN: atoll-opt %s --passes "split-branches" | filecheck %s

// Each result gets a choice of its own, with what it needs of each branch; cheap work that they share is copied.

// CHECK:      [[FIRST:%.*]] = "stablehlo.case"(%arg0) ({
// CHECK-NEXT:   return %arg1
// CHECK-NEXT: }, {
// CHECK-NEXT:   [[SHARED:%.*]] = stablehlo.add %arg1, %arg2
// CHECK-NEXT:   [[SINE:%.*]] = stablehlo.sine [[SHARED]]
// CHECK-NEXT:   return [[SINE]]
// CHECK-NEXT: }) {atoll.branches = 0 : i32}
// CHECK-NEXT: [[SECOND:%.*]] = "stablehlo.case"(%arg0) ({
// CHECK-NEXT:   return %arg2
// CHECK-NEXT: }, {
// CHECK-NEXT:   [[AGAIN:%.*]] = stablehlo.add %arg1, %arg2
// CHECK-NEXT:   [[COSINE:%.*]] = stablehlo.cosine [[AGAIN]]
// CHECK-NEXT:   return [[COSINE]]
// CHECK-NEXT: }) {atoll.branches = 0 : i32}
// CHECK-NEXT: return [[FIRST]], [[SECOND]]
func.func @main(%i: tensor<i32>, %x: tensor<4xf32>, %y: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>) {
  %0:2 = "stablehlo.case"(%i) ({
    stablehlo.return %x, %y : tensor<4xf32>, tensor<4xf32>
  }, {
    %1 = stablehlo.add %x, %y : tensor<4xf32>
    %2 = stablehlo.sine %1 : tensor<4xf32>
    %3 = stablehlo.cosine %1 : tensor<4xf32>
    stablehlo.return %2, %3 : tensor<4xf32>, tensor<4xf32>
  }) : (tensor<i32>) -> (tensor<4xf32>, tensor<4xf32>)
  return %0#0, %0#1 : tensor<4xf32>, tensor<4xf32>
}
