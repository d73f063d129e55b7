// RUN: atoll-opt %s --passes "fold-batch" | filecheck %s

// What acts on the world, and does not depend on the batch, happens once and outside of the loop over microbatches: in
// front of it if what it gives is used there, else behind it, and with all of a loop or a choice that it stands in. What
// only computes may go, be it a call of Python.

// CHECK:      [[DRAWN:%.*]] = stablehlo.rng
// CHECK:      mpmd.for
// CHECK-NEXT:   broadcast_in_dim [[DRAWN]]
// CHECK-NEXT:   add
// CHECK-NEXT:   mpmd.return
// CHECK:      custom_call @tell(%arg0)
// CHECK-NEXT: custom_call @ask(%arg0)
// CHECK:      while
// CHECK:        custom_call @tell(
// CHECK:      case
// CHECK:        custom_call @tell(
// CHECK-NOT:  xla_ffi_python_cpu_callback
// CHECK:      return
module attributes {atoll.plan = "microbatches=2"} {
  func.func @main(%w: tensor<2xf32> {atoll.path = "w"}, %k: tensor<i32> {atoll.path = "k"}, %x: tensor<4x2xf32> {atoll.path = "x", atoll.batch}) -> (tensor<4x2xf32> {atoll.path = "y"}) {
    stablehlo.custom_call @tell(%w) {has_side_effect = true} : (tensor<2xf32>) -> ()
    %unused = stablehlo.custom_call @ask(%w) {has_side_effect = true} : (tensor<2xf32>) -> tensor<2xf32>
    %pure = stablehlo.custom_call @xla_ffi_python_cpu_callback(%w) : (tensor<2xf32>) -> tensor<2xf32>
    %low = stablehlo.constant dense<0.0> : tensor<f32>
    %high = stablehlo.constant dense<1.0> : tensor<f32>
    %size = stablehlo.constant dense<2> : tensor<1xi64>
    %drawn = stablehlo.rng %low, %high, %size, distribution = UNIFORM : (tensor<f32>, tensor<f32>, tensor<1xi64>) -> tensor<2xf32>
    %zero = stablehlo.constant dense<0> : tensor<i32>
    %0 = stablehlo.while(%i = %zero) : tensor<i32>
    cond {
      %n = stablehlo.constant dense<4> : tensor<i32>
      %more = stablehlo.compare LT, %i, %n, SIGNED : (tensor<i32>, tensor<i32>) -> tensor<i1>
      stablehlo.return %more : tensor<i1>
    } do {
      %one = stablehlo.constant dense<1> : tensor<i32>
      %j = stablehlo.add %i, %one : tensor<i32>
      stablehlo.custom_call @tell(%i) {has_side_effect = true} : (tensor<i32>) -> ()
      stablehlo.return %j : tensor<i32>
    }
    %1 = "stablehlo.case"(%k) ({
      stablehlo.return %k : tensor<i32>
    }, {
      stablehlo.custom_call @tell(%k) {has_side_effect = true} : (tensor<i32>) -> ()
      stablehlo.return %k : tensor<i32>
    }) : (tensor<i32>) -> tensor<i32>
    %2 = stablehlo.broadcast_in_dim %drawn, dims = [1] : (tensor<2xf32>) -> tensor<4x2xf32>
    %3 = stablehlo.add %x, %2 : tensor<4x2xf32>
    return %3 : tensor<4x2xf32>
  }
}
