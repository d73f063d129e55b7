// RUN: atoll-opt %s --passes "mark-arguments" --split-input-file | filecheck %s

// The only public function is the one that is run, whatever it is called; XLA says in one place what is donated.
// Beside @main no function is public.

// CHECK:      module @SyncTensorsGraph {
// CHECK-NEXT:   func.func public @main(%arg0: tensor<4xf32> {atoll.path = "arg0"},
// CHECK-SAME:     %arg1: tensor<4xf32> {atoll.donated, atoll.path = "arg1"}) -> (tensor<4xf32> {atoll.path = "result"})
// CHECK:        func.func private @negate
module @SyncTensorsGraph attributes {mhlo.input_output_alias = [{
    alias = {kind = "may_alias", parameter_index = array<i64>, parameter_number = 1 : i64}, output_index = array<i64>
}]} {
  func.func @forward(%x: tensor<4xf32> {mhlo.sharding = "{replicated}"}, %y: tensor<4xf32>) -> tensor<4xf32> {
    %0 = call @negate(%x) : (tensor<4xf32>) -> tensor<4xf32>
    return %0 : tensor<4xf32>
  }
  func.func private @negate(%x: tensor<4xf32>) -> tensor<4xf32> {
    %0 = stablehlo.negate %x : tensor<4xf32>
    return %0 : tensor<4xf32>
  }
}

// -----

// CHECK: func.func private @other
func.func @main() {
  return
}
func.func @other() {
  return
}

// -----

// An argument that is divided over a mesh stays so, and the others are whole on each device.
// CHECK: @main(%arg0: tensor<4xf32> {atoll.path = "arg0", sdy.sharding = #sdy.sharding<@mesh, [{"data"}]>},
// CHECK-SAME: %arg1: tensor<4xf32> {atoll.path = "arg1", sdy.sharding = #sdy.sharding<@mesh, [{}]>})
sdy.mesh @mesh = <["data"=2]>
func.func @main(%x: tensor<4xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"data"}]>}, %y: tensor<4xf32>)
    -> tensor<4xf32> {
  %0 = stablehlo.add %x, %y : tensor<4xf32>
  return %0 : tensor<4xf32>
}
