// RUN: atoll-opt %s --passes "fold-batch" | filecheck %s

// A loop over a grid of two blocks an example, whose inner index begins anew with every example: each microbatch makes
// the iterations that have to do with its own examples. They are the first four, as its blocks are in its own part.

// CHECK-LABEL: @main(%arg0: tensor<2x6xf32>
// CHECK:      mpmd.for ({{.*}}) {atoll.parts = array<i64: 0>, iterations = 2 : ui32}
// CHECK:      stablehlo.while({{.*}}) : tensor<i32>, tensor<i32>, tensor<i32>, tensor<i32>, tensor<2x6xf32>
// CHECK:      stablehlo.constant dense<4> : tensor<i32>
// CHECK:      stablehlo.compare LT
// CHECK:      stablehlo.dynamic_slice {{.*}} sizes = [1, 3] : (tensor<2x6xf32>
// CHECK:      stablehlo.dynamic_update_slice {{.*}} -> tensor<2x6xf32>
// CHECK:      mpmd.return
module attributes {atoll.plan = "microbatches=2"} {
  func.func @main(%x: tensor<4x6xf32> {atoll.path = "x", atoll.batch}) -> (tensor<4x6xf32> {atoll.path = "result"}) {
    %zero = stablehlo.constant dense<0> : tensor<i32>
    %0:4 = stablehlo.while(%i = %zero, %example = %zero, %block = %zero, %array = %x)
        : tensor<i32>, tensor<i32>, tensor<i32>, tensor<4x6xf32>
    cond {
      %count = stablehlo.constant dense<8> : tensor<i32>
      %goes_on = stablehlo.compare LT, %i, %count : (tensor<i32>, tensor<i32>) -> tensor<i1>
      stablehlo.return %goes_on : tensor<i1>
    } do {
      %one = stablehlo.constant dense<1> : tensor<i32>
      %two = stablehlo.constant dense<2> : tensor<i32>
      %three = stablehlo.constant dense<3> : tensor<i32>
      %none = stablehlo.constant dense<0> : tensor<i32>
      %begin = stablehlo.multiply %block, %three : tensor<i32>
      %taken = stablehlo.dynamic_slice %array, %example, %begin, sizes = [1, 3]
          : (tensor<4x6xf32>, tensor<i32>, tensor<i32>) -> tensor<1x3xf32>
      %made = stablehlo.sine %taken : tensor<1x3xf32>
      %put = stablehlo.dynamic_update_slice %array, %made, %example, %begin
          : (tensor<4x6xf32>, tensor<1x3xf32>, tensor<i32>, tensor<i32>) -> tensor<4x6xf32>
      %next = stablehlo.add %i, %one : tensor<i32>
      %more = stablehlo.add %block, %one : tensor<i32>
      %is_over = stablehlo.compare EQ, %more, %two : (tensor<i32>, tensor<i32>) -> tensor<i1>
      %next_block = stablehlo.select %is_over, %none, %more : tensor<i1>, tensor<i32>
      %following = stablehlo.add %example, %one : tensor<i32>
      %next_example = stablehlo.select %is_over, %following, %example : tensor<i1>, tensor<i32>
      stablehlo.return %next, %next_example, %next_block, %put
          : tensor<i32>, tensor<i32>, tensor<i32>, tensor<4x6xf32>
    }
    return %0#3 : tensor<4x6xf32>
  }
}
