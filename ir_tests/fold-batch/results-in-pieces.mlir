// RUN: atoll-opt %s --passes "fold-batch, verify-timed" | filecheck %s

// The parts of a result follow each other, so one that is two batches one after another is returned in two pieces.

// CHECK:      tensor<2xf32> {atoll.parts = 4 : i32, {{.*}} atoll.path = "both", atoll.piece = array<i64: 0, 0, 16>}
// CHECK-SAME: tensor<2xf32> {atoll.parts = 4 : i32, {{.*}} atoll.path = "both", atoll.piece = array<i64: 0, 8, 16>}
// CHECK:      mpmd.for
// CHECK:        [[BOTH:%.*]] = stablehlo.concatenate %arg0, %arg1
// CHECK-NEXT:   [[FIRST:%.*]] = stablehlo.slice [[BOTH]] [0:2]
// CHECK-NEXT:   [[SECOND:%.*]] = stablehlo.slice [[BOTH]] [2:4]
// CHECK-NEXT:   mpmd.return [[FIRST]], [[SECOND]]
module attributes {atoll.plan = "microbatches=4", atoll.phase = "stablehlo"} {
  func.func @main(%x: tensor<8xf32> {atoll.path = "x", atoll.batch}, %y: tensor<8xf32> {atoll.path = "y", atoll.batch})
      -> (tensor<16xf32> {atoll.path = "both"}) {
    %both = stablehlo.concatenate %x, %y, dim = 0 : (tensor<8xf32>, tensor<8xf32>) -> tensor<16xf32>
    return %both : tensor<16xf32>
  }
}
