// RUN: atoll-opt %s --passes "inline-calls, symbol-dce" --debug-info | filecheck %s

// jax traces once how a scan takes its slice, and gives all scans the line of the first. Here each gets its own.

// CHECK: stablehlo.negate %arg0 : tensor<4xf32> loc(#[[FIRST:.*]])
// CHECK: stablehlo.negate %0 : tensor<4xf32> loc(#[[SECOND:.*]])
func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
  %y = call @slice(%x) : (tensor<4xf32>) -> tensor<4xf32>
      loc("jit(step)/while/jit(slice)"(callsite("model.py":7:3 at "train.py":1:1)))
  %z = call @slice(%y) : (tensor<4xf32>) -> tensor<4xf32>
      loc("jit(step)/while/jit(slice)"(callsite("model.py":8:3 at "train.py":1:1)))
  return %z : tensor<4xf32>
}

func.func private @slice(%x: tensor<4xf32>) -> tensor<4xf32> {
  %y = stablehlo.negate %x : tensor<4xf32> loc("neg"("model.py":7:3))
  return %y : tensor<4xf32>
}

// CHECK-DAG: #[[OWN_7:.*]] = loc("model.py":7:3)
// CHECK-DAG: #[[OWN_8:.*]] = loc("model.py":8:3)
// CHECK-DAG: #[[OUTER:.*]] = loc("train.py":1:1)
// CHECK-DAG: #[[AT_7:.*]] = loc(callsite(#[[OWN_7]] at #[[OUTER]]))
// CHECK-DAG: #[[AT_8:.*]] = loc(callsite(#[[OWN_8]] at #[[OUTER]]))
// CHECK-DAG: #[[FIRST]] = loc("jit(step)/while/jit(slice)/neg"(#[[AT_7]]))
// CHECK-DAG: #[[SECOND]] = loc("jit(step)/while/jit(slice)/neg"(#[[AT_8]]))
