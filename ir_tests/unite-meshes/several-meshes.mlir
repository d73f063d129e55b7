// RUN: atoll-opt %s --passes "unite-meshes" | filecheck %s

// All shardings are on one mesh with the islands' axes and sizes, also in regions. An axis of one device is left out,
// and one that the islands do not have stays, as what is divided over it is told to be replicated.

// CHECK:     sdy.mesh @mesh = <["data"=2, "model"=2, "rows"=2]>
// CHECK-NOT: sdy.mesh @mesh_0
module attributes {atoll.topology = "2 x cpu[data=2, model=2]"} {
  sdy.mesh @mesh = <["data"=8, "stage"=1]>
  sdy.mesh @mesh_0 = <["rows"=2, "stage"=1, "model"=4]>
  // CHECK:      func.func @main(
  // CHECK-SAME: [[X:%.*]]: tensor<8x8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"data"}, {}]>}, {{%.*}}: tensor<i32>)
  // CHECK-SAME: -> (tensor<8x8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{}, {"model", ?}]>})
  func.func @main(%x: tensor<8x8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"data", "stage"}, {}]>}, %n: tensor<i32>)
      -> (tensor<8x8xf32> {sdy.sharding = #sdy.sharding<@mesh_0, [{"stage"}, {"model", ?}]>}) {
    %0 = "stablehlo.case"(%n) ({
      // CHECK: sdy.sharding_constraint [[X]] <@mesh, [{}, {}], replicated={"model", "rows"}>
      %1 = sdy.sharding_constraint %x <@mesh_0, [{}, {}], replicated={"rows", "stage", "model"}> : tensor<8x8xf32>
      stablehlo.return %1 : tensor<8x8xf32>
    }) : (tensor<i32>) -> tensor<8x8xf32>
    // What is divided over a part of an axis is not: other sizes may not have that part.
    // CHECK: sdy.sharding_constraint {{%.*}} <@mesh, [{}, {"rows"}]>
    %2 = sdy.sharding_constraint %0 <@mesh_0, [{"model":(2)2}, {"rows"}], replicated={"stage"}> : tensor<8x8xf32>
    return %2 : tensor<8x8xf32>
  }
}
