// RUN: atoll-opt %s --passes "drop-dead-arguments" | filecheck %s

// Arguments that are used keep their types, their marks and their order.

// CHECK:      @main(%arg0: tensor<2xf32> {atoll.batch, atoll.path = "batch"}, %arg1: tensor<4xf32> {atoll.path = "w"})
// CHECK-SAME: -> (tensor<4xf32> {atoll.path = "result[0]"}, tensor<2xf32> {atoll.path = "result[1]"})
// CHECK-NEXT:   return %arg1, %arg0
func.func @main(
    %unused: tensor<1xf32> {atoll.path = "unused"},
    %batch: tensor<2xf32> {atoll.path = "batch", atoll.batch},
    %unused_too: tensor<3xf32> {atoll.path = "unused_too"},
    %w: tensor<4xf32> {atoll.path = "w"},
    %last: tensor<5xf32> {atoll.path = "last"})
    -> (tensor<4xf32> {atoll.path = "result[0]"}, tensor<2xf32> {atoll.path = "result[1]"}) {
  return %w, %batch : tensor<4xf32>, tensor<2xf32>
}
