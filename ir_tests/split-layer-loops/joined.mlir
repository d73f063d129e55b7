// RUN: atoll-opt %s --passes "split-layer-loops" | filecheck %s

// What needs a whole stack, such as a reversal of its layers, gets it joined from its pieces, and the module says for
// what.

// CHECK:      atoll.notes = [{at = ["train.py", 9, {{[0-9]+}}], kind = "joined-stack", type = "tensor<4xf32>", user = "rev"}]
// CHECK:      [[ONE:%.*]] = stablehlo.add %arg0, %arg0 : tensor<2xf32>
// CHECK-NEXT: [[TWO:%.*]] = stablehlo.add %arg1, %arg1 : tensor<2xf32>
// CHECK-NEXT: [[ALL:%.*]] = stablehlo.concatenate [[ONE]], [[TWO]], dim = 0
// CHECK-NEXT: stablehlo.reverse [[ALL]], dims = [0] : tensor<4xf32>
module attributes {atoll.stages = 2 : i32} {
  func.func @main(%w: tensor<4xf32> {atoll.path = "w"}, %x: tensor<1xf32> {atoll.path = "x"})
      -> (tensor<1xf32> {atoll.path = "y"}, tensor<4xf32> {atoll.path = "sorted"}) {
    %zero = stablehlo.constant dense<0> : tensor<i32>
    %one = stablehlo.constant dense<1> : tensor<i32>
    %four = stablehlo.constant dense<4> : tensor<i32>
    %0:3 = stablehlo.while(%a = %w, %i = %zero, %h = %x) : tensor<4xf32>, tensor<i32>, tensor<1xf32>
        attributes {atoll.layers = array<i64: 0, 0, 1, 1>}
    cond {
      %more = stablehlo.compare LT, %i, %four : (tensor<i32>, tensor<i32>) -> tensor<i1>
      stablehlo.return %more : tensor<i1>
    } do {
      %row = stablehlo.dynamic_slice %a, %i, sizes = [1] : (tensor<4xf32>, tensor<i32>) -> tensor<1xf32>
      %next = stablehlo.add %h, %row : tensor<1xf32>
      %j = stablehlo.add %i, %one : tensor<i32>
      stablehlo.return %a, %j, %next : tensor<4xf32>, tensor<i32>, tensor<1xf32>
    }
    %double = stablehlo.add %w, %w : tensor<4xf32>
    %backwards = stablehlo.reverse %double, dims = [0] : tensor<4xf32> loc("jit(f)/rev"("train.py":9:1))
    return %0#2, %backwards : tensor<1xf32>, tensor<4xf32>
  }
}
