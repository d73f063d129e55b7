// RUN: atoll-opt %s --passes "fold-batch, verify-timed" | filecheck %s

// The model has its own use for each half of the examples. So a microbatch takes some of each half, and an argument is
// two, of which each is divided by itself.

// CHECK:      atoll.notes = [{{.*}}blocks = 2{{.*}}kind = "batch-blocks"
// CHECK:      %arg0: tensor<2x3xf32> {atoll.batch, atoll.parts = 2 : i32, {{.*}} atoll.piece = array<i64: 0, 0, 8>}
// CHECK-SAME: %arg1: tensor<2x3xf32> {atoll.batch, atoll.parts = 2 : i32, {{.*}} atoll.piece = array<i64: 0, 4, 8>}
// CHECK-SAME: %arg2: tensor<3xf32> {atoll.path = "w"}
// CHECK:      mpmd.for
// CHECK:        [[BOTH:%.*]] = stablehlo.concatenate %arg0, %arg1
// CHECK:        [[FIRST:%.*]] = stablehlo.slice [[BOTH]] [0:2, 0:3]
// CHECK:        [[SECOND:%.*]] = stablehlo.slice [[BOTH]] [2:4, 0:3]
// CHECK:        stablehlo.subtract [[FIRST]], [[SECOND]] : tensor<2x3xf32>
module attributes {atoll.plan = "microbatches=2", atoll.phase = "stablehlo"} {
  func.func @main(%x: tensor<8x3xf32> {atoll.path = "x", atoll.batch}, %w: tensor<3xf32> {atoll.path = "w"})
      -> (tensor<4x3xf32> {atoll.path = "y"}, tensor<3xf32> {atoll.path = "w"}) {
    %first = stablehlo.slice %x [0:4, 0:3] : (tensor<8x3xf32>) -> tensor<4x3xf32>
    %second = stablehlo.slice %x [4:8, 0:3] : (tensor<8x3xf32>) -> tensor<4x3xf32>
    %y = stablehlo.subtract %first, %second : tensor<4x3xf32>
    return %y, %w : tensor<4x3xf32>, tensor<3xf32>
  }
}
