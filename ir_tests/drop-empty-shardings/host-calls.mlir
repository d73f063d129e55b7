// RUN: atoll-opt %s --passes "drop-empty-shardings" | filecheck %s

// What jax writes for a host call inside of shard_map goes; on which device another is made stays.

// CHECK-NOT: @empty_mesh
sdy.mesh @empty_mesh = <[]>
sdy.mesh @maximal_mesh_0 = <[], device_ids=[0]>

// CHECK: func.func @main([[X:%.*]]: tensor<4xf32>)
func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
  // CHECK: [[CALLED:%.*]] = stablehlo.custom_call @xla_ffi_python_cpu_callback([[X]]) : (tensor<4xf32>)
  %0 = stablehlo.custom_call @xla_ffi_python_cpu_callback(%x) {
    sdy.sharding = #sdy.sharding_per_value<[<@empty_mesh, [{}]>]>
  } : (tensor<4xf32>) -> tensor<4xf32>
  // CHECK: custom_call @xla_ffi_python_cpu_callback([[CALLED]]) {{.*}}<@maximal_mesh_0, []>
  %1 = stablehlo.custom_call @xla_ffi_python_cpu_callback(%0) {
    sdy.sharding = #sdy.sharding_per_value<[<@maximal_mesh_0, []>]>
  } : (tensor<4xf32>) -> tensor<4xf32>
  return %1 : tensor<4xf32>
}
