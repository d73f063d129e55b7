// RUN: atoll-opt %s --passes "fold-batch" | filecheck %s

// Steps of an optimizer for pieces of the examples, one after the other. Each microbatch has some of each piece: the
// loop over pieces is written out, and the examples are taken in as many blocks.

// CHECK:      func.func @main({{.*}}: tensor<2x2xf32> {{.*}}: tensor<1x2xf32> {{.*}}: tensor<1x2xf32> {{.*}})
// CHECK-NOT:  stablehlo.while
// CHECK:      mpmd.for
// CHECK:        stablehlo.dot_general {{.*}} : (tensor<2x1xf32>, tensor<1x2xf32>) -> tensor<2x2xf32>
// CHECK-NOT:  stablehlo.while
// CHECK:      mpmd.for
// CHECK:        stablehlo.dot_general {{.*}} : (tensor<2x1xf32>, tensor<1x2xf32>) -> tensor<2x2xf32>
// CHECK:      return
module attributes {atoll.plan = "microbatches=2"} {
  func.func @main(%w: tensor<2x2xf32> {atoll.path = "w"}, %x: tensor<4x2xf32> {atoll.path = "x", atoll.batch})
      -> (tensor<2x2xf32> {atoll.path = "w"}) {
    %zero = stablehlo.constant dense<0> : tensor<i32>
    %one = stablehlo.constant dense<1> : tensor<i32>
    %two = stablehlo.constant dense<2> : tensor<i32>
    %pieces = stablehlo.reshape %x : (tensor<4x2xf32>) -> tensor<2x2x2xf32>
    %0:3 = stablehlo.while(%i = %zero, %v = %w, %p = %pieces) : tensor<i32>, tensor<2x2xf32>, tensor<2x2x2xf32>
    cond {
      %1 = stablehlo.compare LT, %i, %two : (tensor<i32>, tensor<i32>) -> tensor<i1>
      stablehlo.return %1 : tensor<i1>
    } do {
      %1 = stablehlo.dynamic_slice %p, %i, %zero, %zero, sizes = [1, 2, 2]
          : (tensor<2x2x2xf32>, tensor<i32>, tensor<i32>, tensor<i32>) -> tensor<1x2x2xf32>
      %2 = stablehlo.reshape %1 : (tensor<1x2x2xf32>) -> tensor<2x2xf32>
      %3 = stablehlo.dot_general %v, %2, contracting_dims = [1] x [0]
          : (tensor<2x2xf32>, tensor<2x2xf32>) -> tensor<2x2xf32>
      %4 = stablehlo.add %i, %one : tensor<i32>
      stablehlo.return %4, %3, %p : tensor<i32>, tensor<2x2xf32>, tensor<2x2x2xf32>
    }
    return %0#1 : tensor<2x2xf32>
  }
}
