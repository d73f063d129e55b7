// RUN: atoll-opt %s --passes "spread-stages" | filecheck %s

// What replaces a donated argument is made where the argument is used, though without the donation nothing would have
// to cross.

// CHECK: atoll.notes = {{.*}} bytes = 32 : i64, kind = "traffic"
// CHECK: negate %arg1 {atoll.stage = 0 : i32}
// CHECK: concatenate {{%.*}} {atoll.stage = 1 : i32}
module attributes {atoll.stages = 2 : i32} {
  func.func @main(
      %w: tensor<4x4xf32> {atoll.path = "state['w']", atoll.donated},
      %x: tensor<2x4xf32> {atoll.path = "x"})
      -> (tensor<4x4xf32> {atoll.path = "result[0]['w']"}, tensor<4x4xf32> {atoll.path = "result[1]"}) {
    %0 = stablehlo.cosine %w {atoll.stage = 1 : i32} : tensor<4x4xf32>
    %1 = stablehlo.negate %x {atoll.stage = 0 : i32} : tensor<2x4xf32>
    %2 = stablehlo.concatenate %1, %1, dim = 0 : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<4x4xf32>
    return %2, %0 : tensor<4x4xf32>, tensor<4x4xf32>
  }
}
