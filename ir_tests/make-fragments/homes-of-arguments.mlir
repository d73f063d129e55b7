// RUN: atoll-opt %s --passes "make-fragments" | filecheck %s

// A donated argument lives where its replacement is made, any other where it is first used; one that is only returned
// lives on the first island.

// CHECK:      @main(%arg0: !mpmd.mesh_tensor<"island1", tensor<4xf32>>
// CHECK-SAME:   %arg1: !mpmd.mesh_tensor<"island1", tensor<8xf32>>
// CHECK-SAME:   %arg2: !mpmd.mesh_tensor<"island0", tensor<2xf32>>
// CHECK:      [[FROM:%.*]] = mpmd.transfer %arg0 : {{.*}} -> !mpmd.mesh_tensor<"island0", tensor<4xf32>>
// CHECK-NEXT: mpmd.fragment<mesh="island0", origin=["F0"]> ([[FROM]])
// CHECK:      return {{%.*}}, {{%.*}}, %arg2
module attributes {atoll.stages = 2 : i32, atoll.topology = "2 x cpu[1]"} {
  func.func @main(
      %w: tensor<4xf32> {atoll.path = "state['w']", atoll.donated},
      %x: tensor<8xf32> {atoll.path = "x"},
      %y: tensor<2xf32> {atoll.path = "y"})
      -> (tensor<4xf32> {atoll.path = "result[0]['w']"}, tensor<8xf32> {atoll.path = "result[1]"},
      tensor<2xf32> {atoll.path = "result[2]"}) {
    %0 = stablehlo.negate %w {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<4xf32>
    %1 = stablehlo.add %0, %w {atoll.stage = 1 : i32, atoll.sweep = 0 : i32} : tensor<4xf32>
    %2 = stablehlo.cosine %x {atoll.stage = 1 : i32, atoll.sweep = 0 : i32} : tensor<8xf32>
    return %1, %2, %y : tensor<4xf32>, tensor<8xf32>, tensor<2xf32>
  }
}
