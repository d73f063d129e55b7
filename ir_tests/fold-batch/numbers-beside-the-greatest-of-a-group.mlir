// RUN: atoll-opt %s --passes "fold-batch" | filecheck %s

// Which example has the greatest number of those with its label. A scatter that takes maxima hands on numbers as they
// are, like a reduction: they are kept, as made again none might be equal to the greatest.

// CHECK:      [[FIRST:%.*]]:2 = mpmd.for
// CHECK:        [[NUMBERS:%.*]] = stablehlo.dot_general
// CHECK:        mpmd.return {{%.*}}, [[NUMBERS]] :
// CHECK:      mpmd.for
// CHECK-NOT:    stablehlo.dot_general
// CHECK:        stablehlo.compare EQ, [[FIRST]]#1
// CHECK:        return
module attributes {atoll.plan = "microbatches=2, extra=100"} {
  func.func @main(%w: tensor<1x64xf32> {atoll.path = "w"}, %x: tensor<4x1xf32> {atoll.path = "x", atoll.batch},
                  %label: tensor<4x1xi32> {atoll.path = "label", atoll.batch})
      -> (tensor<4x64xi1> {atoll.path = "y"}) {
    %low = stablehlo.constant dense<0xFF800000> : tensor<3x64xf32>
    %0 = stablehlo.dot_general %x, %w, contracting_dims = [1] x [0] : (tensor<4x1xf32>, tensor<1x64xf32>)
        -> tensor<4x64xf32>
    %1 = "stablehlo.scatter"(%low, %label, %0) <{scatter_dimension_numbers = #stablehlo.scatter<
        update_window_dims = [1], inserted_window_dims = [0], scatter_dims_to_operand_dims = [0],
        index_vector_dim = 1>}> ({
    ^body(%a: tensor<f32>, %b: tensor<f32>):
      %greatest = stablehlo.maximum %a, %b : tensor<f32>
      stablehlo.return %greatest : tensor<f32>
    }) : (tensor<3x64xf32>, tensor<4x1xi32>, tensor<4x64xf32>) -> tensor<3x64xf32>
    %2 = "stablehlo.gather"(%1, %label) <{dimension_numbers = #stablehlo.gather<offset_dims = [1],
        collapsed_slice_dims = [0], start_index_map = [0], index_vector_dim = 1>,
        slice_sizes = array<i64: 1, 64>}> : (tensor<3x64xf32>, tensor<4x1xi32>) -> tensor<4x64xf32>
    %3 = stablehlo.compare EQ, %0, %2 : (tensor<4x64xf32>, tensor<4x64xf32>) -> tensor<4x64xi1>
    return %3 : tensor<4x64xi1>
  }
}
