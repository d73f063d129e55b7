// RUN: atoll-opt %s --passes "inline-calls, symbol-dce" --debug-info | filecheck %s

// A loop moves as a whole; the operations in its regions use the call's operands and carry the call's scopes.

// CHECK: stablehlo.while([[I:%.*]] = %arg0)
// CHECK: stablehlo.compare LT, [[I]], %arg1 : {{.*}} loc(#[[LESS:.*]])
// CHECK: stablehlo.add [[I]], %arg1 : {{.*}} loc(#[[ADD:.*]])
func.func @main(%x: tensor<i32>, %limit: tensor<i32>) -> tensor<i32> {
  %y = call @count(%x, %limit) : (tensor<i32>, tensor<i32>) -> tensor<i32> loc("layers")
  return %y : tensor<i32>
}

func.func private @count(%x: tensor<i32>, %limit: tensor<i32>) -> tensor<i32> {
  %y = stablehlo.while(%i = %x) : tensor<i32>
    cond {
      %more = stablehlo.compare LT, %i, %limit : (tensor<i32>, tensor<i32>) -> tensor<i1> loc("while/lt")
      stablehlo.return %more : tensor<i1>
    } do {
      %next = stablehlo.add %i, %limit : tensor<i32> loc("while/add")
      stablehlo.return %next : tensor<i32>
    }
  return %y : tensor<i32>
}

// CHECK-DAG: #[[LESS]] = loc("layers/while/lt")
// CHECK-DAG: #[[ADD]] = loc("layers/while/add")
