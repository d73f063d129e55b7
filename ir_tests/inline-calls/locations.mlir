// RUN: atoll-opt %s --passes "inline-calls, symbol-dce" --debug-info | filecheck %s

// The scopes of the call come before the operation's own name, and the operation's own frame before that of the call.

// CHECK: stablehlo.negate %arg0 : tensor<4xf32> loc(#[[FIRST:.*]])
// CHECK: stablehlo.negate %0 : tensor<4xf32> loc(#[[SECOND:.*]])
func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
  %y = call @negated(%x) : (tensor<4xf32>) -> tensor<4xf32> loc("jit(step)/layer_0/jit(negated)"("train.py":7:3))
  %z = call @negated(%y) : (tensor<4xf32>) -> tensor<4xf32> loc("jit(step)/layer_1/jit(negated)"("train.py":8:3))
  return %z : tensor<4xf32>
}

func.func private @negated(%x: tensor<4xf32>) -> tensor<4xf32> {
  %y = stablehlo.negate %x : tensor<4xf32> loc("neg"("model.py":2:5))
  return %y : tensor<4xf32>
}

// CHECK-DAG: #[[OWN:.*]] = loc("model.py":2:5)
// CHECK-DAG: #[[CALL_7:.*]] = loc("train.py":7:3)
// CHECK-DAG: #[[CALL_8:.*]] = loc("train.py":8:3)
// CHECK-DAG: #[[AT_7:.*]] = loc(callsite(#[[OWN]] at #[[CALL_7]]))
// CHECK-DAG: #[[AT_8:.*]] = loc(callsite(#[[OWN]] at #[[CALL_8]]))
// CHECK-DAG: #[[FIRST]] = loc("jit(step)/layer_0/jit(negated)/neg"(#[[AT_7]]))
// CHECK-DAG: #[[SECOND]] = loc("jit(step)/layer_1/jit(negated)/neg"(#[[AT_8]]))
