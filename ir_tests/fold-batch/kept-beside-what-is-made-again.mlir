// RUN: atoll-opt %s --passes "fold-batch" | filecheck %s

// The places of the numbers in order are kept, as two loops go on with them. The numbers themselves only the second one
// needs: it sorts once more for them, and goes on with the places that the first one has found.

// CHECK:      [[FIRST:%.*]]:2 = mpmd.for
// CHECK:        [[SORTED:%.*]]:2 = "stablehlo.sort"
// CHECK:        mpmd.return {{%.*}}, [[SORTED]]#1 :
// CHECK:      mpmd.for
// CHECK:        [[AGAIN:%.*]]:2 = "stablehlo.sort"
// CHECK:        [[PLACES:%.*]] = stablehlo.convert [[FIRST]]#1
// CHECK:        stablehlo.multiply [[AGAIN]]#0
// CHECK:        return
module attributes {atoll.plan = "microbatches=2, extra=100"} {
  func.func @main(%w: tensor<1x64xf32> {atoll.path = "w"}, %x: tensor<4x1xf32> {atoll.path = "x", atoll.batch})
      -> (tensor<4x64xf32> {atoll.path = "y"}) {
    %zero = stablehlo.constant dense<0.0> : tensor<f32>
    %0 = stablehlo.dot_general %x, %w, contracting_dims = [1] x [0] : (tensor<4x1xf32>, tensor<1x64xf32>)
        -> tensor<4x64xf32>
    %1 = stablehlo.iota dim = 1 : tensor<4x64xi32>
    %2:2 = "stablehlo.sort"(%0, %1) <{dimension = 1 : i64, is_stable = true}> ({
    ^body(%a: tensor<f32>, %b: tensor<f32>, %c: tensor<i32>, %d: tensor<i32>):
      %less = stablehlo.compare LT, %a, %b : (tensor<f32>, tensor<f32>) -> tensor<i1>
      stablehlo.return %less : tensor<i1>
    }) : (tensor<4x64xf32>, tensor<4x64xi32>) -> (tensor<4x64xf32>, tensor<4x64xi32>)
    %3 = stablehlo.convert %2#1 : (tensor<4x64xi32>) -> tensor<4x64xf32>
    %4 = stablehlo.reduce(%3 init: %zero) applies stablehlo.add across dimensions = [0]
        : (tensor<4x64xf32>, tensor<f32>) -> tensor<64xf32>
    %5 = stablehlo.broadcast_in_dim %4, dims = [1] : (tensor<64xf32>) -> tensor<4x64xf32>
    %6 = stablehlo.subtract %3, %5 : tensor<4x64xf32>
    %7 = stablehlo.multiply %2#0, %6 : tensor<4x64xf32>
    return %7 : tensor<4x64xf32>
  }
}
