// RUN: atoll-opt %s --passes "split-layer-loops" | filecheck %s


// What acts on the world in each layer does so in the loop of that layer, told which layer it is, though nobody takes
// what it gives; of what stands in a branch beside split arrays there is one.
// CHECK:      while
// CHECK:        custom_call @tell(%iterArg_{{[0-9]+}})
// CHECK:        custom_call @ask(
// CHECK:      while
// CHECK:        [[LAYER:%.*]] = stablehlo.add %iterArg_{{[0-9]+}}, %{{.*}}
// CHECK:        custom_call @tell([[LAYER]])
// CHECK:        custom_call @ask(
// CHECK:      case
// CHECK:        custom_call @tell(
// CHECK-NOT:  custom_call
module attributes {atoll.stages = 2 : i32} {
  func.func @main(%w: tensor<4x8xf32> {atoll.path = "w"}, %x: tensor<8xf32> {atoll.path = "x"}, %k: tensor<i32> {atoll.path = "k"}) -> (tensor<4x8xf32> {atoll.path = "result[0]"}, tensor<8xf32> {atoll.path = "result[1]"}) {
    %zero = stablehlo.constant dense<0> : tensor<i32>
    %0:3 = stablehlo.while(%a = %w, %i = %zero, %h = %x) : tensor<4x8xf32>, tensor<i32>, tensor<8xf32> attributes {atoll.layers = array<i64: 0, 0, 0, 1>}
    cond {
      %n = stablehlo.constant dense<4> : tensor<i32>
      %more = stablehlo.compare LT, %i, %n, SIGNED : (tensor<i32>, tensor<i32>) -> tensor<i1>
      stablehlo.return %more : tensor<i1>
    } do {
      %one = stablehlo.constant dense<1> : tensor<i32>
      %j = stablehlo.add %i, %one : tensor<i32>
      stablehlo.custom_call @tell(%i) {has_side_effect = true} : (tensor<i32>) -> ()
      %unused = stablehlo.custom_call @ask(%h) {has_side_effect = true} : (tensor<8xf32>) -> tensor<8xf32>
      %c = stablehlo.constant dense<0> : tensor<i32>
      %row = stablehlo.dynamic_slice %a, %i, %c, sizes = [1, 8] : (tensor<4x8xf32>, tensor<i32>, tensor<i32>) -> tensor<1x8xf32>
      %r = stablehlo.reshape %row : (tensor<1x8xf32>) -> tensor<8xf32>
      %next = stablehlo.add %h, %r : tensor<8xf32>
      stablehlo.return %a, %j, %next : tensor<4x8xf32>, tensor<i32>, tensor<8xf32>
    }
    %new = "stablehlo.case"(%k) ({
      stablehlo.return %w : tensor<4x8xf32>
    }, {
      stablehlo.custom_call @tell(%k) {has_side_effect = true} : (tensor<i32>) -> ()
      %1 = stablehlo.multiply %w, %w : tensor<4x8xf32>
      stablehlo.return %1 : tensor<4x8xf32>
    }) : (tensor<i32>) -> tensor<4x8xf32>
    return %new, %0#2 : tensor<4x8xf32>, tensor<8xf32>
  }
}
