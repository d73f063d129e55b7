// RUN: atoll-opt %s --passes "verify-scheduled" --verify-diagnostics --split-input-file


module {
  func.func @main() {
    // expected-error @below {{stablehlo.constant stands in @main, outside of every fragment; run outline-fragments}}
    %0 = stablehlo.constant dense<1.0> : tensor<4xf32>
    return
  }
}

// -----

module {
  func.func @main(%x: !mpmd.mesh_tensor<"island0", tensor<4xf32>>) -> (!mpmd.mesh_tensor<"island0", tensor<4xf32>> {atoll.path = "result"}) attributes {topology = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>} {
    // expected-error @below {{mpmd.fragment stands in @main, outside of every fragment}}
    %0 = mpmd.fragment<mesh="island0", origin=["F0"]> (%x) {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} (%a: tensor<4xf32>) {
      %n = stablehlo.negate %a : tensor<4xf32>
      mpmd.return %n : tensor<4xf32>
    } : (!mpmd.mesh_tensor<"island0", tensor<4xf32>>) -> !mpmd.mesh_tensor<"island0", tensor<4xf32>>
    return %0 : !mpmd.mesh_tensor<"island0", tensor<4xf32>>
  }
}

// -----

module {
  // expected-error @below {{argument 0 of @main has no atoll.path; add {atoll.path = "..."}}}
  func.func @main(%x: !mpmd.mesh_tensor<"island0", tensor<4xf32>>) -> (!mpmd.mesh_tensor<"island0", tensor<4xf32>> {atoll.path = "result"}) attributes {topology = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>} {
    return %x : !mpmd.mesh_tensor<"island0", tensor<4xf32>>
  }
}

// -----

module {
  // expected-error @below {{result 0 of @main has no atoll.path; add {atoll.path = "..."}}}
  func.func @main(%x: !mpmd.mesh_tensor<"island0", tensor<4xf32>> {atoll.path = "x"}) -> !mpmd.mesh_tensor<"island0", tensor<4xf32>> attributes {topology = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>} {
    return %x : !mpmd.mesh_tensor<"island0", tensor<4xf32>>
  }
}

// -----

module {
  // expected-error @below {{results 0 and 1 of @main are both result; give each its own atoll.path}}
  func.func @main(%x: !mpmd.mesh_tensor<"island0", tensor<4xf32>> {atoll.path = "x"}) -> (!mpmd.mesh_tensor<"island0", tensor<4xf32>> {atoll.path = "result"}, !mpmd.mesh_tensor<"island0", tensor<4xf32>> {atoll.path = "result"}) attributes {topology = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>} {
    return %x, %x : !mpmd.mesh_tensor<"island0", tensor<4xf32>>, !mpmd.mesh_tensor<"island0", tensor<4xf32>>
  }
}
