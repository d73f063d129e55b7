// RUN: atoll-opt %s --passes "fold-batch" | filecheck %s

// What `jax.debug.print` becomes stands around the loop, where each replica comes by once; other effects are refused.

// CHECK:     [[SUM:%.*]] = mpmd.for
// CHECK:     stablehlo.custom_call @xla_ffi_python_cpu_callback([[SUM]])
// CHECK-NOT: custom_call
module attributes {atoll.plan = "replicas=2, microbatches=2"} {
  func.func @main(%x: tensor<8xf32> {atoll.path = "x", atoll.batch}) -> (tensor<f32> {atoll.path = "y"}) {
    %zero = stablehlo.constant dense<0.0> : tensor<f32>
    %0 = stablehlo.reduce(%x init: %zero) applies stablehlo.add across dimensions = [0] : (tensor<8xf32>, tensor<f32>)
        -> tensor<f32>
    stablehlo.custom_call @xla_ffi_python_cpu_callback(%0) {has_side_effect = true,
        mhlo.backend_config = {index = 0 : ui64}} : (tensor<f32>) -> () loc("debug_print:"("jit(step)/debug_print"))
    return %0 : tensor<f32>
  }
}
