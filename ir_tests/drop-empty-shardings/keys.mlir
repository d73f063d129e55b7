// RUN: atoll-opt %s --passes "drop-empty-shardings" | filecheck %s

// What jax writes for a typed key goes; a constraint on a real mesh stays, in regions as well.

// CHECK-NOT: @empty_mesh
// CHECK: sdy.mesh @mesh
sdy.mesh @empty_mesh = <[]>
sdy.mesh @mesh = <["data"=2]>

// CHECK: func.func @main([[KEY:%.*]]: tensor<2xui32>, [[FLAG:%.*]]: tensor<i32>)
func.func @main(%key: tensor<2xui32>, %flag: tensor<i32>) -> tensor<2xui32> {
  // CHECK-NOT: empty_mesh
  // CHECK: [[CASE:%.*]] = "stablehlo.case"([[FLAG]])
  // CHECK-NEXT: stablehlo.return [[KEY]]
  %0 = sdy.sharding_constraint %key <@empty_mesh, [{}]> : tensor<2xui32>
  %1 = "stablehlo.case"(%flag) ({
    %3 = sdy.sharding_constraint %0 <@empty_mesh, [{}]> : tensor<2xui32>
    stablehlo.return %3 : tensor<2xui32>
  }) : (tensor<i32>) -> tensor<2xui32>
  // CHECK: sdy.sharding_constraint [[CASE]] <@mesh, [{"data"}]>
  %2 = sdy.sharding_constraint %1 <@mesh, [{"data"}]> : tensor<2xui32>
  return %2 : tensor<2xui32>
}
