// RUN: atoll-opt %s --passes "fold-batch" | filecheck %s

// Layers in a loop, each with `where(x > 0, x, 0)`. The comparison stays in the loop, and what the loop gives makes no
// jump: so it is no decision, and all layers are gone through again.

// CHECK:      mpmd.for
// CHECK:        stablehlo.while
// CHECK:        mpmd.return {{%[0-9]+}} : tensor<2xf32>
// CHECK:      mpmd.for
// CHECK:        stablehlo.while
// CHECK:      return
module attributes {atoll.plan = "microbatches=4, extra=\"100%, 0 B\""} {
  func.func @main(%w: tensor<2x2xf32> {atoll.path = "w"}, %x: tensor<4x2xf32> {atoll.path = "x", atoll.batch})
      -> (tensor<4x2xf32> {atoll.path = "y"}) {
    %zero = stablehlo.constant dense<0.0> : tensor<f32>
    %turn = stablehlo.constant dense<0> : tensor<i32>
    %0:2 = stablehlo.while(%h = %x, %i = %turn) : tensor<4x2xf32>, tensor<i32>
    cond {
      %end = stablehlo.constant dense<3> : tensor<i32>
      %goes_on = stablehlo.compare LT, %i, %end : (tensor<i32>, tensor<i32>) -> tensor<i1>
      stablehlo.return %goes_on : tensor<i1>
    } do {
      %one = stablehlo.constant dense<1> : tensor<i32>
      %zeros = stablehlo.constant dense<0.0> : tensor<4x2xf32>
      %next = stablehlo.add %i, %one : tensor<i32>
      %made = stablehlo.dot_general %h, %w, contracting_dims = [1] x [0] : (tensor<4x2xf32>, tensor<2x2xf32>)
          -> tensor<4x2xf32>
      %is_positive = stablehlo.compare GT, %made, %zeros : (tensor<4x2xf32>, tensor<4x2xf32>) -> tensor<4x2xi1>
      %chosen = stablehlo.select %is_positive, %made, %zeros : tensor<4x2xi1>, tensor<4x2xf32>
      stablehlo.return %chosen, %next : tensor<4x2xf32>, tensor<i32>
    }
    %1 = stablehlo.reduce(%0#0 init: %zero) applies stablehlo.add across dimensions = [0]
        : (tensor<4x2xf32>, tensor<f32>) -> tensor<2xf32>
    %2 = stablehlo.broadcast_in_dim %1, dims = [1] : (tensor<2xf32>) -> tensor<4x2xf32>
    %3 = stablehlo.subtract %0#0, %2 : tensor<4x2xf32>
    return %3 : tensor<4x2xf32>
  }
}
