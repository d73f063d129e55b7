// RUN: atoll-opt %s --passes "fold-batch" | filecheck %s

// What says which memory a value is in hands on each example.

// CHECK: custom_call @annotate_device_placement({{.*}}) {
// CHECK-SAME: (tensor<2x4xf32>) -> tensor<2x4xf32>
// CHECK: stablehlo.negate {{.*}} : tensor<2x4xf32>
module attributes {atoll.plan = "microbatches=4"} {
  func.func @main(%x: tensor<8x4xf32> {atoll.path = "x", atoll.batch}) -> (tensor<8x4xf32> {atoll.path = "y"}) {
    %0 = stablehlo.custom_call @annotate_device_placement(%x) {
        has_side_effect = true, mhlo.frontend_attributes = {_xla_buffer_placement = "pinned_host"}
    } : (tensor<8x4xf32>) -> tensor<8x4xf32>
    %1 = stablehlo.custom_call @annotate_device_placement(%0) {
        has_side_effect = true, mhlo.frontend_attributes = {_xla_buffer_placement = "device"}
    } : (tensor<8x4xf32>) -> tensor<8x4xf32>
    %2 = stablehlo.negate %1 : tensor<8x4xf32>
    return %2 : tensor<8x4xf32>
  }
}
