// RUN: atoll-opt %s --passes "drop-empty-values" | filecheck %s

// What `jax.lax.associative_scan` leaves at the end of its recursion: a slice without elements, which is padded and
// joined again. Nothing is taken from %x for it. A branch that only gives such an array goes too; a call that has an
// effect stays.

// CHECK-LABEL: @main
// CHECK-NEXT:   [[A:%.*]] = stablehlo.constant dense<> : tensor<4x0xf32>
// CHECK-NOT:    slice
// CHECK:        pad [[A]]
// CHECK-NOT:    case
// CHECK:        [[B:%.*]] = stablehlo.constant dense<> : tensor<0xcomplex<f32>>
// CHECK-NEXT:   custom_call @ask
// CHECK:        return {{%.*}}, [[B]]
func.func @main(%x: tensor<4x8xf32>, %c: tensor<i32>, %z: tensor<0xcomplex<f32>>)
    -> (tensor<4x2xf32>, tensor<0xcomplex<f32>>, tensor<0xf32>) {
  %0 = stablehlo.slice %x [0:4, 0:0] : (tensor<4x8xf32>) -> tensor<4x0xf32>
  %1 = stablehlo.tanh %0 : tensor<4x0xf32>
  %zero = stablehlo.constant dense<0.0> : tensor<f32>
  %2 = stablehlo.pad %1, %zero, low = [0, 2], high = [0, 0], interior = [0, 0]
      : (tensor<4x0xf32>, tensor<f32>) -> tensor<4x2xf32>
  %3 = "stablehlo.case"(%c) ({
    %4 = stablehlo.negate %z : tensor<0xcomplex<f32>>
    stablehlo.return %4 : tensor<0xcomplex<f32>>
  }, {
    stablehlo.return %z : tensor<0xcomplex<f32>>
  }) : (tensor<i32>) -> tensor<0xcomplex<f32>>
  %5 = stablehlo.custom_call @ask(%x) {has_side_effect = true} : (tensor<4x8xf32>) -> tensor<0xf32>
  return %2, %3, %5 : tensor<4x2xf32>, tensor<0xcomplex<f32>>, tensor<0xf32>
}
