// RUN: atoll-opt %s --passes "share-update" | filecheck %s

// Each piece of a stack is shared by itself, or left whole where it cannot be divided.

// CHECK:      atoll.notes = [{{.*}}is_in_pieces = true, kind = "not-divisible", path = "state['m']", replicas = 2 : i64
// CHECK:      %arg0: tensor<2xf32> {atoll.path = "state['m']",
// CHECK-SAME: atoll.piece = array<i64: 0, 0, 7>, atoll.share = 0 : i32}
// CHECK-SAME: %arg1: tensor<3xf32> {atoll.path = "state['m']", atoll.piece = array<i64: 0, 4, 7>})
module attributes {atoll.plan = "replicas=2, update=sharded", atoll.topology = "2 x cpu[1]"} {
  func.func @main(
      %a: tensor<4xf32> {atoll.path = "state['m']", atoll.piece = array<i64: 0, 0, 7>},
      %b: tensor<3xf32> {atoll.path = "state['m']", atoll.piece = array<i64: 0, 4, 7>})
      -> (tensor<4xf32> {atoll.path = "result['m']", atoll.piece = array<i64: 0, 0, 7>},
      tensor<3xf32> {atoll.path = "result['m']", atoll.piece = array<i64: 0, 4, 7>}) {
    %0 = stablehlo.negate %a : tensor<4xf32>
    %1 = stablehlo.negate %b : tensor<3xf32>
    return %0, %1 : tensor<4xf32>, tensor<3xf32>
  }
}
