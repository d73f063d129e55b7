// RUN: atoll-opt %s --passes "drop-dead-carries" | filecheck %s


// What a loop does beside computing its results it does in each iteration, though nobody takes what it carries for that:
// it tells of %a, asks with %b and draws random numbers as far as %d. Calls that say that they only compute go, those of
// Python too, and so does what they take.
// CHECK:      while({{.*}} = %c, {{.*}} = %arg0, {{.*}} = %arg0, {{.*}} = %arg0)
// CHECK:        outfeed
// CHECK-NOT:    xla_ffi_python_cpu_callback
// CHECK:        custom_call @ask
// CHECK:        rng
// CHECK:        arith.divsi
// CHECK:        case
// CHECK:          custom_call @xla_ffi_python_cpu_callback({{.*}}) {has_side_effect = true}
// CHECK-NOT:    tanh
// CHECK:      return
func.func @main(%x: tensor<4xf32>, %p: tensor<i32>) -> tensor<i32> {
  %zero = stablehlo.constant dense<0> : tensor<i32>
  %0:6 = stablehlo.while(%i = %zero, %a = %x, %b = %x, %d = %x, %e = %x, %f = %x) : tensor<i32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>
  cond {
    %n = stablehlo.constant dense<4> : tensor<i32>
    %more = stablehlo.compare LT, %i, %n, SIGNED : (tensor<i32>, tensor<i32>) -> tensor<i1>
    stablehlo.return %more : tensor<i1>
  } do {
    %token = stablehlo.create_token : !stablehlo.token
    %told = "stablehlo.outfeed"(%a, %token) {outfeed_config = ""} : (tensor<4xf32>, !stablehlo.token) -> !stablehlo.token
    %pure = stablehlo.custom_call @xla_ffi_python_cpu_callback(%e) : (tensor<4xf32>) -> tensor<4xf32>
    %answer = stablehlo.custom_call @ask(%b) {has_side_effect = true} : (tensor<4xf32>) -> tensor<4xf32>
    %from = stablehlo.constant dense<0.0> : tensor<f32>
    %size = stablehlo.constant dense<3> : tensor<1xi64>
    %drawn = stablehlo.rng %from, %from, %size, distribution = UNIFORM : (tensor<f32>, tensor<f32>, tensor<1xi64>) -> tensor<3xf32>
    %unknown = arith.divsi %p, %i : tensor<i32>
    %chosen = "stablehlo.case"(%p) ({
      stablehlo.custom_call @xla_ffi_python_cpu_callback(%d) {has_side_effect = true} : (tensor<4xf32>) -> ()
      stablehlo.return %p : tensor<i32>
    }) : (tensor<i32>) -> tensor<i32>
    %g = stablehlo.tanh %f : tensor<4xf32>
    %one = stablehlo.constant dense<1> : tensor<i32>
    %j = stablehlo.add %i, %one : tensor<i32>
    stablehlo.return %j, %a, %b, %d, %pure, %g : tensor<i32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>
  }
  return %0#0 : tensor<i32>
}
