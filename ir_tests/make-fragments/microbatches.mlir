// RUN: atoll-opt %s --passes "make-fragments" | filecheck %s

// A loop over microbatches calls the function of one, which has each fragment and each transfer once. The sum lives
// where it is added up; a result in parts lives where it is made, and begins as a placeholder.

// CHECK:      [[ZERO:%.*]] = mpmd.fragment<mesh="island1",
// CHECK:      [[NONE:%.*]] = mpmd.assign {{%.*}} -> !mpmd.mesh_tensor<"island0", tensor<4xf32>>
// CHECK-NEXT: [[ALL:%.*]]:2 = mpmd.for ([[ZERO]], [[NONE]])
// CHECK-SAME:   ([[SUM:%[a-z0-9]+]]: !mpmd.mesh_tensor<"island1", tensor<4xf32>>,
// CHECK-NEXT:   [[ONE:%.*]]:2 = mpmd.call @microbatch([[SUM]], %arg0, %arg1)
// CHECK-NEXT:   mpmd.return [[ONE]]#0, [[ONE]]#1
// CHECK:      return [[ALL]]#0, [[ALL]]#1
// CHECK:      func.func private @microbatch(%arg0: {{.*}}, %arg1: {{.*}}, %arg2: {{.*}}) ->
// CHECK-NEXT: [[F0:%.*]] = mpmd.fragment<mesh="island0", origin=["F0"]> (%arg1)
// CHECK:      [[SENT:%.*]] = mpmd.transfer [[F0]]
// CHECK-NEXT: [[F1:%.*]] = mpmd.fragment<mesh="island1", origin=["F1"]> ([[SENT]], %arg2, %arg0)
// CHECK:      return [[F1]], [[F0]]
module attributes {atoll.plan = "microbatches=2", atoll.stages = 2 : i32, atoll.topology = "2 x cpu[1]"} {
  func.func @main(
      %x: tensor<4xf32> {atoll.path = "x", atoll.batch, atoll.parts = 2 : i32}, %w: tensor<4xf32> {atoll.path = "w"})
      -> (tensor<4xf32> {atoll.path = "sum"}, tensor<4xf32> {atoll.path = "y", atoll.parts = 2 : i32}) {
    %zero = stablehlo.constant {atoll.stage = 1 : i32, atoll.sweep = 0 : i32} dense<0.0> : tensor<4xf32>
    %none = stablehlo.constant {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} dense<0.0> : tensor<4xf32>
    %0:2 = mpmd.for (%zero, %none) {atoll.role = "F", atoll.parts = array<i64: 1>, iterations = 2 : ui32}
        (%s: tensor<4xf32>, %p: tensor<4xf32>, %i: tensor<ui32>) {
      %1 = stablehlo.negate %x {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<4xf32>
      %2 = stablehlo.multiply %1, %w {atoll.stage = 1 : i32, atoll.sweep = 0 : i32} : tensor<4xf32>
      %3 = stablehlo.add %s, %2 {atoll.stage = 1 : i32, atoll.sweep = 0 : i32} : tensor<4xf32>
      mpmd.return %3, %1 : tensor<4xf32>, tensor<4xf32>
    } : tensor<4xf32>, tensor<4xf32>
    return %0#0, %0#1 : tensor<4xf32>, tensor<4xf32>
  }
}
