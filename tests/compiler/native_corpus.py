"""Modules for native passes: at least one of them has something to do for each pass."""

CORPUS = {
    "plain": """
      func.func @main(%x: tensor<4x8xf32>, %w: tensor<8x8xf32>) -> (tensor<4x8xf32>, tensor<f32>) {
        %zero = stablehlo.constant dense<0.0> : tensor<f32>
        %y = stablehlo.dot_general %x, %w, contracting_dims = [1] x [0]
            : (tensor<4x8xf32>, tensor<8x8xf32>) -> tensor<4x8xf32>
        %unused = stablehlo.exponential %y : tensor<4x8xf32>
        %same = stablehlo.add %y, %y : tensor<4x8xf32>
        %again = stablehlo.add %y, %y : tensor<4x8xf32>
        %z = stablehlo.multiply %same, %again : tensor<4x8xf32>
        %sum = stablehlo.reduce(%z init: %zero) applies stablehlo.add across dimensions = [0, 1]
            : (tensor<4x8xf32>, tensor<f32>) -> tensor<f32>
        return %z, %sum : tensor<4x8xf32>, tensor<f32>
      }""",
    "control flow": """
      func.func @main(%n: tensor<i32>, %x: tensor<4xf32>) -> tensor<4xf32> {
        %zero = stablehlo.constant dense<0> : tensor<i32>
        %one = stablehlo.constant dense<1> : tensor<i32>
        %r:2 = stablehlo.while(%i = %zero, %a = %x) : tensor<i32>, tensor<4xf32>
          cond {
            %more = stablehlo.compare LT, %i, %n : (tensor<i32>, tensor<i32>) -> tensor<i1>
            stablehlo.return %more : tensor<i1>
          } do {
            %invariant = stablehlo.sine %x : tensor<4xf32>
            %b = stablehlo.add %a, %invariant : tensor<4xf32>
            %j = stablehlo.add %i, %one : tensor<i32>
            stablehlo.return %j, %b : tensor<i32>, tensor<4xf32>
          }
        %c = "stablehlo.case"(%n) ({
          stablehlo.return %r#1 : tensor<4xf32>
        }, {
          %d = stablehlo.negate %r#1 : tensor<4xf32>
          stablehlo.return %d : tensor<4xf32>
        }) : (tensor<i32>) -> tensor<4xf32>
        return %c : tensor<4xf32>
      }""",
    "shardings": """
      sdy.mesh @mesh = <["x"=2, "y"=2]>
      func.func @main(%x: tensor<4x8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}, {}]>},
                      %w: tensor<8x8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"y"}, {}]>}) -> tensor<4x8xf32> {
        %y = stablehlo.dot_general %x, %w, contracting_dims = [1] x [0]
            : (tensor<4x8xf32>, tensor<8x8xf32>) -> tensor<4x8xf32>
        %z = sdy.sharding_constraint %y <@mesh, [{"x"}, {}]> : tensor<4x8xf32>
        %p = stablehlo.tanh %z : tensor<4x8xf32>
        return %p : tensor<4x8xf32>
      }""",
    "chlo": """
      func.func @main(%x: tensor<4x8xf32>) -> (tensor<4x8xf32>, tensor<4x2xf32>, tensor<4x2xi32>) {
        %y = chlo.erf %x : tensor<4x8xf32> -> tensor<4x8xf32>
        %z = chlo.square %y : tensor<4x8xf32> -> tensor<4x8xf32>
        %values, %indices = chlo.top_k(%z, k = 2) : tensor<4x8xf32> -> (tensor<4x2xf32>, tensor<4x2xi32>)
        return %z, %values, %indices : tensor<4x8xf32>, tensor<4x2xf32>, tensor<4x2xi32>
      }""",
    "calls": """
      func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
        %once = call @outer(%x) : (tensor<4xf32>) -> tensor<4xf32>
        %y = call @outer(%once) : (tensor<4xf32>) -> tensor<4xf32>
        %z = stablehlo.composite "mine.negated" %y {decomposition = @negated} : (tensor<4xf32>) -> tensor<4xf32>
        return %z : tensor<4xf32>
      }
      func.func private @outer(%x: tensor<4xf32>) -> tensor<4xf32> {
        %y = call @negated(%x) : (tensor<4xf32>) -> tensor<4xf32>
        return %y : tensor<4xf32>
      }
      func.func private @negated(%x: tensor<4xf32>) -> tensor<4xf32> {
        %y = stablehlo.negate %x : tensor<4xf32>
        return %y : tensor<4xf32>
      }
      func.func private @unused() { return }""",
    "complex": """
      func.func @main(%x: tensor<4xcomplex<f32>>, %u: tensor<4xui8>) -> (tensor<4xcomplex<f32>>, tensor<4xui8>) {
        %y = stablehlo.exponential %x : tensor<4xcomplex<f32>>
        %v = stablehlo.add %u, %u : tensor<4xui8>
        return %y, %v : tensor<4xcomplex<f32>>, tensor<4xui8>
      }""",
    "placed": """
      func.func @main(%x: !mpmd.mesh_tensor<"a", tensor<4xf32>>) -> !mpmd.mesh_tensor<"b", tensor<4xf32>>
          attributes {topology = #mpmd.topology<<"a" : <["x"=2]>>, <"b" : <["x"=2]>>>} {
        %y = mpmd.fragment<mesh="a", origin=["f"]> (%x) (%v: tensor<4xf32>) {
          %n = stablehlo.negate %v : tensor<4xf32>
          mpmd.return %n : tensor<4xf32>
        } : (!mpmd.mesh_tensor<"a", tensor<4xf32>>) -> !mpmd.mesh_tensor<"a", tensor<4xf32>>
        %z = mpmd.transfer %y : (!mpmd.mesh_tensor<"a", tensor<4xf32>>) -> !mpmd.mesh_tensor<"b", tensor<4xf32>>
        return %z : !mpmd.mesh_tensor<"b", tensor<4xf32>>
      }""",
    "versioned": """
      vhlo.func_v1 @main(%x: !vhlo.tensor_v1<4x!vhlo.f32_v1>) -> (!vhlo.tensor_v1<4x!vhlo.f32_v1>) {
        "vhlo.return_v1"(%x) : (!vhlo.tensor_v1<4x!vhlo.f32_v1>) -> ()
      } {sym_visibility = #vhlo.string_v1<"">, arg_attrs = #vhlo.array_v1<[]>, res_attrs = #vhlo.array_v1<[]>}""",
    "empty": "",
    "unfinished shardings": """
      sdy.mesh @mesh = <["x"=2, "y"=2]>
      func.func @main(%x: tensor<4x3xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x", ?}, {"y"}]>}) -> tensor<4x3xf32> {
        %y = stablehlo.negate %x {sdy.sharding_rule = #sdy.op_sharding_rule<([i, j])->([i, j]) {i=4, j=3}>}
            : tensor<4x3xf32>
        sdy.sharding_group %y group_id=3 : tensor<4x3xf32>
        %b = stablehlo.optimization_barrier %y : tensor<4x3xf32>
        %z = sdy.data_flow_edge %b sharding=<@mesh, [{"x"}, {}]> : tensor<4x3xf32>
        return %z : tensor<4x3xf32>
      }""",
    "reshards": """
      sdy.mesh @mesh = <["x"=2, "y"=2]>
      func.func @main(%x: tensor<4x4xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}, {}]>},
                      %w: tensor<4x4xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"y"}, {"x"}]>}) -> tensor<4x4xf32> {
        %y = stablehlo.dot_general %x, %w, contracting_dims = [1] x [0]
            {sdy.sharding = #sdy.sharding_per_value<[<@mesh, [{"x"}, {}]>]>}
            : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
        %z = sdy.reshard %y <@mesh, [{}, {}]> : tensor<4x4xf32>
        return %z : tensor<4x4xf32>
      }""",
    "a manual computation": """
      sdy.mesh @mesh = <["x"=2, "y"=2]>
      func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
        %y = sdy.manual_computation(%x) in_shardings=[<@mesh, [{"x"}]>] out_shardings=[<@mesh, [{"x"}]>]
            manual_axes={"y", "x"} (%v: tensor<2xf32>) {
          %n = stablehlo.negate %v : tensor<2xf32>
          sdy.return %n : tensor<2xf32>
        } : (tensor<4xf32>) -> tensor<4xf32>
        return %y : tensor<4xf32>
      }""",
    "microbatches": """
      func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
        %y = mpmd.for (%x) {iterations = 4 : ui32} (%sum: tensor<4xf32>, %index: tensor<ui32>) {
          %invariant = stablehlo.sine %x : tensor<4xf32>
          %next = stablehlo.add %sum, %invariant : tensor<4xf32>
          mpmd.return %next : tensor<4xf32>
        } : tensor<4xf32>
        return %y : tensor<4xf32>
      }""",
    "deprecated": """
      func.func @main(%x: tensor<4xf32>) -> tensor<2x4xf32> {
        %y = stablehlo.broadcast %x, sizes = [2] : (tensor<4xf32>) -> tensor<2x4xf32>
        return %y : tensor<2x4xf32>
      }""",
}
