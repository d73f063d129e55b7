// RUN: atoll-opt %s --passes "fold-batch" | filecheck %s

// In a loop of the program a sum is not complete before all microbatches have been through it. What is linear is done
// to the parts of the sum: scaling by a value that is the same for all, negating, adding. What is taken off once is
// taken off the first part.

// CHECK:      mpmd.for
// CHECK:        [[ONCE:%.*]] = stablehlo.select {{%.*}}, %arg1, {{%.*}}
// CHECK:        stablehlo.while({{.*}}, [[SUM:%.*]] = {{%.*}}) : tensor<i32>, tensor<f32>
// CHECK:          [[PART:%.*]] = stablehlo.reduce(%arg2 init: {{%.*}}) applies stablehlo.add across dimensions = [0]
// CHECK-NEXT:     [[SCALED:%.*]] = stablehlo.multiply [[PART]], %arg1
// CHECK-NEXT:     [[LESS:%.*]] = stablehlo.negate [[SCALED]]
// CHECK-NEXT:     [[LEAST:%.*]] = stablehlo.subtract [[LESS]], [[ONCE]]
// CHECK-NEXT:     stablehlo.add [[SUM]], [[LEAST]]
module attributes {atoll.plan = "microbatches=2"} {
  func.func @main(
      %start: tensor<f32> {atoll.path = "start"}, %w: tensor<f32> {atoll.path = "w"},
      %x: tensor<4xf32> {atoll.path = "x", atoll.batch})
      -> (tensor<f32> {atoll.path = "y"}) {
    %zero = stablehlo.constant dense<0> : tensor<i32>
    %0:2 = stablehlo.while(%i = %zero, %sum = %start) : tensor<i32>, tensor<f32>
    cond {
      %end = stablehlo.constant dense<3> : tensor<i32>
      %goes_on = stablehlo.compare LT, %i, %end : (tensor<i32>, tensor<i32>) -> tensor<i1>
      stablehlo.return %goes_on : tensor<i1>
    } do {
      %one = stablehlo.constant dense<1> : tensor<i32>
      %next = stablehlo.add %i, %one : tensor<i32>
      %none = stablehlo.constant dense<0.0> : tensor<f32>
      %part = stablehlo.reduce(%x init: %none) applies stablehlo.add across dimensions = [0]
          : (tensor<4xf32>, tensor<f32>) -> tensor<f32>
      %scaled = stablehlo.multiply %part, %w : tensor<f32>
      %less = stablehlo.negate %scaled : tensor<f32>
      %least = stablehlo.subtract %less, %w : tensor<f32>
      %after = stablehlo.add %sum, %least : tensor<f32>
      stablehlo.return %next, %after : tensor<i32>, tensor<f32>
    }
    return %0#1 : tensor<f32>
  }
}
