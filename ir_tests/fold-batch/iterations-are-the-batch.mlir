// RUN: atoll-opt %s --passes "fold-batch" --split-input-file | filecheck %s

// A loop over pieces of the batch: each microbatch makes its part of the trips, one after the other. What is added up
// is a part of the sum, what is stacked has the microbatch's rows, and what is counted goes on from the one before.

// CHECK-LABEL: @main(%arg0: tensor<2x3xf32>
// CHECK:      mpmd.for ({{.*}}) {atoll.parts = array<i64: 1>, iterations = 2 : ui32}
// CHECK-NOT:  stablehlo.while
// CHECK:      [[COUNT:%.*]] = stablehlo.multiply %index
// CHECK:      [[BEGIN:%.*]] = stablehlo.add {{%.*}}, {{%.*}} : tensor<i32>
// CHECK:      [[ROW:%.*]] = stablehlo.dynamic_slice %arg0, {{.*}} sizes = [1, 3] : (tensor<2x3xf32>
// CHECK:      [[SORTED:%.*]] = "stablehlo.sort"([[ROW]])
// CHECK:      stablehlo.add {{%.*}}, [[SORTED]]
// CHECK:      stablehlo.dynamic_update_slice {{.*}} -> tensor<2xi32>
// CHECK:      "stablehlo.sort"
// CHECK:      stablehlo.dynamic_update_slice {{.*}} -> tensor<2xi32>
// CHECK:      mpmd.return
module attributes {atoll.plan = "microbatches=2"} {
  func.func @main(%x: tensor<4x3xf32> {atoll.path = "x", atoll.batch})
      -> (tensor<1x3xf32> {atoll.path = "sum"}, tensor<4xi32> {atoll.path = "numbers"}) {
    %zero = stablehlo.constant dense<0> : tensor<i32>
    %begin = stablehlo.constant dense<0.0> : tensor<1x3xf32>
    %stack = stablehlo.constant dense<0> : tensor<4xi32>
    %0:4 = stablehlo.while(%i = %zero, %rows = %x, %sum = %begin, %numbers = %stack)
        : tensor<i32>, tensor<4x3xf32>, tensor<1x3xf32>, tensor<4xi32>
    cond {
      %count = stablehlo.constant dense<4> : tensor<i32>
      %goes_on = stablehlo.compare LT, %i, %count : (tensor<i32>, tensor<i32>) -> tensor<i1>
      stablehlo.return %goes_on : tensor<i1>
    } do {
      %one = stablehlo.constant dense<1> : tensor<i32>
      %none = stablehlo.constant dense<0> : tensor<i32>
      %row = stablehlo.dynamic_slice %rows, %i, %none, sizes = [1, 3]
          : (tensor<4x3xf32>, tensor<i32>, tensor<i32>) -> tensor<1x3xf32>
      %sorted = "stablehlo.sort"(%row) <{dimension = 1 : i64, is_stable = true}> ({
      ^bb0(%a: tensor<f32>, %b: tensor<f32>):
        %less = stablehlo.compare LT, %a, %b : (tensor<f32>, tensor<f32>) -> tensor<i1>
        stablehlo.return %less : tensor<i1>
      }) : (tensor<1x3xf32>) -> tensor<1x3xf32>
      %more = stablehlo.add %sum, %sorted : tensor<1x3xf32>
      %number = stablehlo.reshape %i : (tensor<i32>) -> tensor<1xi32>
      %put = stablehlo.dynamic_update_slice %numbers, %number, %i
          : (tensor<4xi32>, tensor<1xi32>, tensor<i32>) -> tensor<4xi32>
      %next = stablehlo.add %i, %one : tensor<i32>
      stablehlo.return %next, %rows, %more, %put : tensor<i32>, tensor<4x3xf32>, tensor<1x3xf32>, tensor<4xi32>
    }
    return %0#2, %0#3 : tensor<1x3xf32>, tensor<4xi32>
  }
}
