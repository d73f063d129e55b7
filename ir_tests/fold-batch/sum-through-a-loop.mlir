// RUN: atoll-opt %s --passes "fold-batch" | filecheck %s

// A gradient that is added up from layer to layer stays a part of the sum; its initial value counts in one microbatch
// alone.

// CHECK:      mpmd.for
// CHECK:        [[FIRST:%.*]] = stablehlo.compare EQ, %index
// CHECK-NEXT:   [[NOTHING:%.*]] = stablehlo.constant dense<0.000000e+00> : tensor<3xf32>
// CHECK-NEXT:   [[ONCE:%.*]] = stablehlo.select [[FIRST]], %arg0, [[NOTHING]]
// CHECK:        stablehlo.while({{%.*}} = {{%.*}}, [[SUM:%.*]] = [[ONCE]], [[X:%.*]] = %arg1)
// CHECK-SAME:     : tensor<i32>, tensor<3xf32>, tensor<2x3xf32>
// CHECK:          [[PART:%.*]] = stablehlo.reduce([[X]]
// CHECK:          stablehlo.add [[SUM]], [[PART]]
module attributes {atoll.plan = "microbatches=4"} {
  func.func @main(%start: tensor<3xf32> {atoll.path = "start"}, %x: tensor<8x3xf32> {atoll.path = "x", atoll.batch})
      -> (tensor<3xf32> {atoll.path = "sum"}, tensor<8x3xf32> {atoll.path = "y"}) {
    %zero = stablehlo.constant dense<0> : tensor<i32>
    %0:3 = stablehlo.while(%i = %zero, %sum = %start, %y = %x) : tensor<i32>, tensor<3xf32>, tensor<8x3xf32>
    cond {
      %count = stablehlo.constant dense<3> : tensor<i32>
      %goes_on = stablehlo.compare LT, %i, %count : (tensor<i32>, tensor<i32>) -> tensor<i1>
      stablehlo.return %goes_on : tensor<i1>
    } do {
      %one = stablehlo.constant dense<1> : tensor<i32>
      %none = stablehlo.constant dense<0.0> : tensor<f32>
      %part = stablehlo.reduce(%y init: %none) applies stablehlo.add across dimensions = [0]
          : (tensor<8x3xf32>, tensor<f32>) -> tensor<3xf32>
      %next = stablehlo.add %i, %one : tensor<i32>
      %after = stablehlo.add %sum, %part : tensor<3xf32>
      %z = stablehlo.tanh %y : tensor<8x3xf32>
      stablehlo.return %next, %after, %z : tensor<i32>, tensor<3xf32>, tensor<8x3xf32>
    }
    return %0#1, %0#2 : tensor<3xf32>, tensor<8x3xf32>
  }
}
