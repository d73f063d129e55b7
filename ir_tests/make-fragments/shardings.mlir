// RUN: atoll-opt %s --passes "make-fragments" | filecheck %s
// RUN: atoll-opt %s --passes "make-fragments" --verify-diagnostics

// What an island's mesh can follow becomes part of the types; b has no axis "model". Inside a fragment a constraint
// stays and what was propagated goes.

module attributes {
  atoll.topology = "island a : cpu[data=2, model=2]\nisland b : cpu[data=2]",
  atoll.stages = 2 : i32, atoll.phase = "staged"
} {
  // CHECK: atoll.notes = [{at = {{.*}}, axis = "model", island = "b", kind = "not-followed"}]
  sdy.mesh @mesh = <["data"=2, "model"=2]>
  // CHECK: func.func @main(
  // CHECK-SAME: [[X:%.*]]: !mpmd.mesh_tensor<"a", tensor<8x4xf32>, sharding=<@mesh, [{"data"}, {"model"}]>>
  // CHECK-SAME: {atoll.path = "x"})
  // CHECK-SAME: -> (!mpmd.mesh_tensor<"b", tensor<8x4xf32>, sharding=<@mesh, [{"data"}, {}]>> {atoll.path = "result"})
  func.func @main(%x: tensor<8x4xf32> {atoll.path = "x", sdy.sharding = #sdy.sharding<@mesh, [{"data"}, {"model"}]>})
      -> (tensor<8x4xf32> {atoll.path = "result", sdy.sharding = #sdy.sharding<@mesh, [{"data"}, {"model"}]>}) {
    // CHECK: mpmd.fragment<mesh="a", origin=["F0"]> ([[X]])
    // CHECK: stablehlo.negate {{%.*}} : tensor<8x4xf32>
    // CHECK-NEXT: sdy.sharding_constraint {{%.*}} <@mesh, [{"data"}, {"model"}]>
    %0 = stablehlo.negate %x {
      atoll.stage = 0 : i32, atoll.sweep = 0 : i32,
      sdy.sharding = #sdy.sharding_per_value<[<@mesh, [{"data", ?}, {"model", ?}]>]>
    } : tensor<8x4xf32>
    // expected-remark @below {{replicated on b, which cannot divide some value over axis model}}
    %1 = sdy.sharding_constraint %0 <@mesh, [{"data"}, {"model"}]> {atoll.stage = 0 : i32, atoll.sweep = 0 : i32}
        : tensor<8x4xf32>
    // CHECK: mpmd.transfer
    // CHECK-SAME: -> !mpmd.mesh_tensor<"b", tensor<8x4xf32>, sharding=<@mesh, [{"data"}, {}]>>
    // CHECK: mpmd.fragment<mesh="b", origin=["F1"]>
    // CHECK: sdy.sharding_constraint {{%.*}} <@mesh, [{"data"}, {}]>
    %2 = sdy.sharding_constraint %1 <@mesh, [{"data"}, {"model"}]> {atoll.stage = 1 : i32, atoll.sweep = 0 : i32}
        : tensor<8x4xf32>
    return %2 : tensor<8x4xf32>
  }
}
