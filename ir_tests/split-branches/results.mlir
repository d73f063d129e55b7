// RUN: atoll-opt %s --passes "split-branches" --debug-info | filecheck %s

// Shardings and other attributes stay with the results, and locations with the work; what nobody uses is dropped, and a
// value that all branches give is not a choice. The same holds in a loop over microbatches.

// CHECK:     mpmd.for
// CHECK:       "stablehlo.if"(%arg0)
// CHECK:         sine
// CHECK:       }) {atoll.branches = 0 : i32, mark = "user", sdy.sharding = #sdy.sharding_per_value<[<@mesh, [{"x"}]>]>}
// CHECK-SAME:  loc(#[[ONE:.*]])
// CHECK-NOT:   @abs
// CHECK:       "stablehlo.if"(%arg0)
// CHECK:         cosine
// CHECK:       }) {atoll.branches = 0 : i32, mark = "user", sdy.sharding = #sdy.sharding_per_value<[<@mesh, [{}]>]>}
// CHECK-SAME:  loc(#[[TWO:.*]])
// CHECK-NOT:   @abs
// CHECK:       add {{%.*}}, %arg1
// CHECK-DAG: #[[ONE]] = loc("jit(f)/one/sin"
// CHECK-DAG: #[[TWO]] = loc("jit(f)/two/cos"
module {
  sdy.mesh @mesh = <["x"=2]>
  func.func @main(%i: tensor<i1>, %x: tensor<4xf32>) -> tensor<4xf32> {
    %zero = stablehlo.constant dense<0.0> : tensor<4xf32>
    %sum = mpmd.for (%zero) {iterations = 2 : ui32} (%before: tensor<4xf32>, %index: tensor<ui32>) {
      %0:4 = "stablehlo.if"(%i) ({
        stablehlo.return %x, %x, %x, %x : tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>
      }, {
        %1 = stablehlo.sine %x : tensor<4xf32> loc("jit(f)/one/sin")
        %7 = stablehlo.reduce_precision %x, format = e5m10 : tensor<4xf32>
        %2 = stablehlo.custom_call @abs(%7) : (tensor<4xf32>) -> tensor<4xf32>
        %3 = stablehlo.cosine %x : tensor<4xf32> loc("jit(f)/two/cos")
        stablehlo.return %1, %2, %3, %x : tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>
      }) {mark = "user", sdy.sharding = #sdy.sharding_per_value<[<@mesh, [{"x"}]>, <@mesh, [{}]>, <@mesh, [{}]>,
          <@mesh, [{}]>]>}
        : (tensor<i1>) -> (tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>)
      %4 = stablehlo.add %0#0, %0#2 : tensor<4xf32>
      %5 = stablehlo.add %4, %0#3 : tensor<4xf32>
      %6 = stablehlo.add %before, %5 : tensor<4xf32>
      mpmd.return %6 : tensor<4xf32>
    } : tensor<4xf32>
    return %sum : tensor<4xf32>
  }
}
