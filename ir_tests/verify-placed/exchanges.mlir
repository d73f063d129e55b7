// RUN: atoll-opt %s --passes "verify-placed" | filecheck %s

// Replicas exchange each sum of the loop once: the whole of it, or their own share. A share is cut from what all
// replicas have, and what is there in shares is gathered.

// CHECK: atoll.phase = "placed"

!on0_4xf32 = !mpmd.mesh_tensor<"island0", tensor<4xf32>>
!on0_2xf32 = !mpmd.mesh_tensor<"island0", tensor<2xf32>>
#islands = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>
module attributes {
  atoll.phase = "staged", atoll.plan = "replicas=2, microbatches=2, update=sharded", atoll.topology = "2 x cpu[1]"
} {
  func.func @main(
      %x: !on0_4xf32 {atoll.path = "x", atoll.batch, atoll.parts = 4 : i32}, %z: !on0_4xf32 {atoll.path = "z"},
      %m: !on0_2xf32 {atoll.path = "m", atoll.share = 0 : i32})
      -> (!on0_4xf32 {atoll.path = "all"}, !on0_2xf32 {atoll.path = "own", atoll.share = 0 : i32},
      !on0_4xf32 {atoll.path = "gathered"}) attributes {topology = #islands} {
    %0:2 = mpmd.for (%z, %z) {atoll.role = "F", iterations = 4 : ui32} (%s: !on0_4xf32, %t: !on0_4xf32, %i: tensor<ui32>) {
      %1:2 = mpmd.call @microbatch(%s, %t, %x)
          : (!on0_4xf32, !on0_4xf32, !on0_4xf32) -> (!on0_4xf32, !on0_4xf32)
      mpmd.return %1#0, %1#1 : !on0_4xf32, !on0_4xf32
    } : !on0_4xf32, !on0_4xf32
    %all = mpmd.transfer {atoll.exchange = "add"} %0#0 : (!on0_4xf32) -> !on0_4xf32
    %own = builtin.unrealized_conversion_cast %0#1 : !on0_4xf32 to !on0_2xf32
        {atoll.exchange = "add", atoll.share = 0 : i32}
    %cut = builtin.unrealized_conversion_cast %all : !on0_4xf32 to !on0_2xf32
        {atoll.exchange = "share", atoll.share = 0 : i32}
    %gathered = builtin.unrealized_conversion_cast %m : !on0_2xf32 to !on0_4xf32
        {atoll.exchange = "gather", atoll.share = 0 : i32}
    return %all, %own, %gathered : !on0_4xf32, !on0_2xf32, !on0_4xf32
  }
  func.func private @microbatch(%s: !on0_4xf32, %t: !on0_4xf32, %x: !on0_4xf32) -> (!on0_4xf32, !on0_4xf32)
      attributes {topology = #islands} {
    %0:2 = mpmd.fragment<mesh="island0", origin=["F0"]> (%s, %t, %x) {atoll.stage = 0 : i32, atoll.sweep = 0 : i32}
        (%a: tensor<4xf32>, %b: tensor<4xf32>, %v: tensor<4xf32>) {
      %c = stablehlo.add %a, %v : tensor<4xf32>
      %d = stablehlo.add %b, %v : tensor<4xf32>
      mpmd.return %c, %d : tensor<4xf32>, tensor<4xf32>
    } : (!on0_4xf32, !on0_4xf32, !on0_4xf32) -> (!on0_4xf32, !on0_4xf32)
    return %0#0, %0#1 : !on0_4xf32, !on0_4xf32
  }
}
