// RUN: atoll-opt %s --passes "seed-stages" | filecheck %s

// A placement may go back and forth between islands; an island that it does not name is a stage without operations.

// CHECK:      atoll.stages = 3
// CHECK:      negate %arg0 {atoll.stage = 2 : i32}
// CHECK-NEXT: cosine %0 {atoll.stage = 0 : i32}
// CHECK-NEXT: negate %1 {atoll.stage = 2 : i32}
module attributes {
    atoll.plan = "placement={\"a\": \"right\", \"b\": \"left\"}",
    atoll.topology = "island left : cpu[1]\nisland middle : cpu[1]\nisland right : cpu[1]"} {
  func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
    %0 = stablehlo.negate %x : tensor<4xf32> loc("jit(f)/a/neg")
    %1 = stablehlo.cosine %0 : tensor<4xf32> loc("jit(f)/b/cos")
    %2 = stablehlo.negate %1 : tensor<4xf32> loc("jit(f)/a/neg")
    return %2 : tensor<4xf32>
  }
}
