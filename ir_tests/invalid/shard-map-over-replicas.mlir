// RUN: atoll-opt %s --passes "fold-batch" --verify-diagnostics --split-input-file

// What devices of a mesh over all replicas may not do, as each replica has some of them only.

module attributes {atoll.plan = "replicas=2", atoll.topology = "2 x cpu[1]"} {
  sdy.mesh @mesh = <["data"=2]>
  func.func @main(%x: tensor<4xf32> {atoll.path = "x", atoll.batch}) -> (tensor<8xf32> {atoll.path = "y"}) {
    %0 = sdy.manual_computation(%x) in_shardings=[<@mesh, [{"data"}]>] out_shardings=[<@mesh, [{"data"}]>]
        manual_axes={"data"} (%own: tensor<2xf32>) {
      // expected-error @below {{all_gather has devices of several replicas meet, which have axis data among them; let devices meet along data in sums over all of it alone, or set replicas=1}}
      %all = "stablehlo.all_gather"(%own) <{all_gather_dim = 0 : i64, replica_groups = dense<[[0, 1]]>
          : tensor<1x2xi64>}> : (tensor<2xf32>) -> tensor<4xf32>
      sdy.return %all : tensor<4xf32>
    } : (tensor<4xf32>) -> tensor<8xf32>
    return %0 : tensor<8xf32>
  }
}

// -----

// A sum over all devices is whole behind the loop, so in a branch the greatest of such sums cannot be found.

module attributes {atoll.plan = "replicas=2", atoll.topology = "2 x cpu[1]"} {
  sdy.mesh @mesh = <["data"=2]>
  func.func @main(%x: tensor<4xf32> {atoll.path = "x", atoll.batch}, %which: tensor<i32> {atoll.path = "which"})
      -> (tensor<2xf32> {atoll.path = "y"}) {
    %0 = sdy.manual_computation(%x, %which) in_shardings=[<@mesh, [{"data"}]>, <@mesh, []>]
        out_shardings=[<@mesh, [{}]>] manual_axes={"data"} (%own: tensor<2xf32>, %which_: tensor<i32>) {
      %1 = "stablehlo.case"(%which_) ({
        %sum = "stablehlo.all_reduce"(%own) <{replica_groups = dense<[[0, 1]]> : tensor<1x2xi64>}> ({
        ^bb0(%a: tensor<f32>, %b: tensor<f32>):
          %both = stablehlo.add %a, %b : tensor<f32>
          stablehlo.return %both : tensor<f32>
        }) : (tensor<2xf32>) -> tensor<2xf32>
        // expected-error @below {{all_reduce needs a whole sum over data, which is complete behind the loop around it}}
        %most = "stablehlo.all_reduce"(%sum) <{replica_groups = dense<[[0, 1]]> : tensor<1x2xi64>}> ({
        ^bb0(%a: tensor<f32>, %b: tensor<f32>):
          %both = stablehlo.maximum %a, %b : tensor<f32>
          stablehlo.return %both : tensor<f32>
        }) : (tensor<2xf32>) -> tensor<2xf32>
        stablehlo.return %most : tensor<2xf32>
      }) : (tensor<i32>) -> tensor<2xf32>
      sdy.return %1 : tensor<2xf32>
    } : (tensor<4xf32>, tensor<i32>) -> tensor<2xf32>
    return %0 : tensor<2xf32>
  }
}

// -----

module attributes {atoll.plan = "replicas=2", atoll.topology = "2 x cpu[1]"} {
  sdy.mesh @mesh = <["data"=2]>
  func.func @main(%x: tensor<4xf32> {atoll.path = "x", atoll.batch}, %which: tensor<i32> {atoll.path = "which"})
      -> (tensor<2xf32> {atoll.path = "y"}) {
    %0 = sdy.manual_computation(%x, %which) in_shardings=[<@mesh, [{"data"}]>, <@mesh, []>]
        out_shardings=[<@mesh, [{}]>] manual_axes={"data"} (%own: tensor<2xf32>, %which_: tensor<i32>) {
      %1 = "stablehlo.case"(%which_) ({
        %sum = "stablehlo.all_reduce"(%own) <{replica_groups = dense<[[0, 1]]> : tensor<1x2xi64>}> ({
        ^bb0(%a: tensor<f32>, %b: tensor<f32>):
          %both = stablehlo.add %a, %b : tensor<f32>
          stablehlo.return %both : tensor<f32>
        }) : (tensor<2xf32>) -> tensor<2xf32>
        // expected-error @below {{constant_like has no rule that says what it does with a sum over replicas}}
        %most = "chlo.constant_like"(%sum) <{value = 1.0 : f32}> : (tensor<2xf32>) -> tensor<2xf32>
        stablehlo.return %most : tensor<2xf32>
      }) : (tensor<i32>) -> tensor<2xf32>
      sdy.return %1 : tensor<2xf32>
    } : (tensor<4xf32>, tensor<i32>) -> tensor<2xf32>
    return %0 : tensor<2xf32>
  }
}

// -----

module attributes {atoll.plan = "replicas=2", atoll.topology = "2 x cpu[1]"} {
  sdy.mesh @mesh = <["data"=2]>
  func.func @main(%x: tensor<4xf32> {atoll.path = "x", atoll.batch}) -> (tensor<2xf32> {atoll.path = "y"}) {
    %0 = sdy.manual_computation(%x) in_shardings=[<@mesh, [{"data"}]>] out_shardings=[<@mesh, [{"data"}]>]
        manual_axes={"data"} (%own: tensor<2xf32>) {
      %scale = stablehlo.slice %own [0:1] : (tensor<2xf32>) -> tensor<1xf32>
      %scalar = stablehlo.reshape %scale : (tensor<1xf32>) -> tensor<f32>
      // expected-error @below {{reduce takes what devices have into its region}}
      %scaled = "stablehlo.reduce"(%own, %scalar) <{dimensions = array<i64: 0>}> ({
      ^bb0(%a: tensor<f32>, %b: tensor<f32>):
        %less = stablehlo.multiply %b, %scalar : tensor<f32>
        %both = stablehlo.add %a, %less : tensor<f32>
        stablehlo.return %both : tensor<f32>
      }) : (tensor<2xf32>, tensor<f32>) -> tensor<f32>
      %one = stablehlo.reshape %scaled : (tensor<f32>) -> tensor<1xf32>
      sdy.return %one : tensor<1xf32>
    } : (tensor<4xf32>) -> tensor<2xf32>
    return %0 : tensor<2xf32>
  }
}

// -----

// Each replica would add it. In a region nothing can be added behind the loop.

module attributes {atoll.plan = "replicas=2", atoll.topology = "2 x cpu[1]"} {
  sdy.mesh @mesh = <["data"=2]>
  func.func @main(%w: tensor<2xf32> {atoll.path = "w"}, %x: tensor<4xf32> {atoll.path = "x", atoll.batch},
      %which: tensor<i32> {atoll.path = "which"}) -> (tensor<2xf32> {atoll.path = "y"}) {
    %0 = sdy.manual_computation(%w, %x, %which) in_shardings=[<@mesh, [{}]>, <@mesh, [{"data"}]>, <@mesh, []>]
        out_shardings=[<@mesh, [{}]>] manual_axes={"data"} (%w_: tensor<2xf32>, %own: tensor<2xf32>,
        %which_: tensor<i32>) {
      %sum = "stablehlo.all_reduce"(%own) <{replica_groups = dense<[[0, 1]]> : tensor<1x2xi64>}> ({
      ^bb0(%a: tensor<f32>, %b: tensor<f32>):
        %both = stablehlo.add %a, %b : tensor<f32>
        stablehlo.return %both : tensor<f32>
      }) : (tensor<2xf32>) -> tensor<2xf32>
      // expected-error @below {{case joins a sum over devices with what is the same for all of them}}
      %1 = "stablehlo.case"(%which_) ({
        %joined = stablehlo.add %sum, %w_ : tensor<2xf32>
        stablehlo.return %joined : tensor<2xf32>
      }, {
        stablehlo.return %sum : tensor<2xf32>
      }) : (tensor<i32>) -> tensor<2xf32>
      sdy.return %1 : tensor<2xf32>
    } : (tensor<2xf32>, tensor<4xf32>, tensor<i32>) -> tensor<2xf32>
    return %0 : tensor<2xf32>
  }
}

// -----

module attributes {atoll.plan = "replicas=2", atoll.topology = "2 x cpu[model=2]"} {
  sdy.mesh @mesh = <["model"=2, "data"=2]>
  func.func @main(%x: tensor<8xf32> {atoll.path = "x", atoll.batch}) -> (tensor<8xf32> {atoll.path = "y"}) {
    // expected-error @below {{manual_computation divides a dimension over data behind another axis, so that replicas have rows of several places; divide it over data alone, or make data the first axis, or set replicas=1}}
    %0 = sdy.manual_computation(%x) in_shardings=[<@mesh, [{"model", "data"}]>]
        out_shardings=[<@mesh, [{"model", "data"}]>] manual_axes={"model", "data"} (%own: tensor<2xf32>) {
      sdy.return %own : tensor<2xf32>
    } : (tensor<8xf32>) -> tensor<8xf32>
    return %0 : tensor<8xf32>
  }
}

// -----

module attributes {atoll.plan = "replicas=2, microbatches=2", atoll.topology = "2 x cpu[data=2]"} {
  sdy.mesh @mesh = <["data"=4]>
  func.func @main(%x: tensor<4xf32> {atoll.path = "x", atoll.batch}) -> (tensor<4xf32> {atoll.path = "y"}) {
    // expected-error @below {{manual_computation gives each device 1 rows along data, which 2 microbatches cannot share evenly; choose microbatches that divide what each device has}}
    %0 = sdy.manual_computation(%x) in_shardings=[<@mesh, [{"data"}]>] out_shardings=[<@mesh, [{"data"}]>]
        manual_axes={"data"} (%own: tensor<1xf32>) {
      sdy.return %own : tensor<1xf32>
    } : (tensor<4xf32>) -> tensor<4xf32>
    return %0 : tensor<4xf32>
  }
}

// -----

module attributes {atoll.plan = "replicas=2, microbatches=2", atoll.topology = "2 x cpu[model=2]"} {
  sdy.mesh @mesh = <["data"=2, "model"=2]>
  func.func @main(%x: tensor<8xf32> {atoll.path = "x", atoll.batch}) -> (tensor<8xf32> {atoll.path = "y"}) {
    // expected-error @below {{manual_computation divides a dimension over data and other axes, whose devices would have other rows; divide it over data alone, or set microbatches=1}}
    %0 = sdy.manual_computation(%x) in_shardings=[<@mesh, [{"data", "model"}]>]
        out_shardings=[<@mesh, [{"data", "model"}]>] manual_axes={"data", "model"} (%own: tensor<2xf32>) {
      sdy.return %own : tensor<2xf32>
    } : (tensor<8xf32>) -> tensor<8xf32>
    return %0 : tensor<8xf32>
  }
}

// -----

module attributes {atoll.plan = "replicas=2", atoll.topology = "2 x cpu[1]"} {
  sdy.mesh @mesh = <["data"=2]>
  func.func @main(%w: tensor<4xf32> {atoll.path = "w"}, %x: tensor<4xf32> {atoll.path = "x", atoll.batch})
      -> (tensor<4xf32> {atoll.path = "y"}) {
    // expected-error @below {{manual_computation takes examples that are not divided over data, along which replicas have devices of their own; divide the dimension of the batch over data, as one batch}}
    %0 = sdy.manual_computation(%w, %x) in_shardings=[<@mesh, [{"data"}]>, <@mesh, [{}]>]
        out_shardings=[<@mesh, [{}]>] manual_axes={"data"} (%own: tensor<2xf32>, %all: tensor<4xf32>) {
      sdy.return %all : tensor<4xf32>
    } : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
    return %0 : tensor<4xf32>
  }
}

// -----

module attributes {atoll.plan = "replicas=2, microbatches=2", atoll.topology = "2 x cpu[data=2]"} {
  sdy.mesh @mesh = <["data"=4]>
  func.func @main(%x: tensor<8xui32> {atoll.path = "x", atoll.batch}) -> (tensor<8xui32> {atoll.path = "y"}) {
    %0 = sdy.manual_computation(%x) in_shardings=[<@mesh, [{"data"}]>] out_shardings=[<@mesh, [{"data"}]>]
        manual_axes={"data"} (%own: tensor<2xui32>) {
      // expected-error @below {{partition_id asks for the place of a device along data, over which a replica divides each microbatch; give islands one device along data, or set microbatches=1}}
      %place = stablehlo.partition_id : tensor<ui32>
      %places = stablehlo.broadcast_in_dim %place, dims = [] : (tensor<ui32>) -> tensor<2xui32>
      %sum = stablehlo.add %own, %places : tensor<2xui32>
      sdy.return %sum : tensor<2xui32>
    } : (tensor<8xui32>) -> tensor<8xui32>
    return %0 : tensor<8xui32>
  }
}

// -----

module attributes {atoll.plan = "replicas=2, microbatches=2", atoll.topology = "2 x cpu[data=2]"} {
  sdy.mesh @mesh = <["data"=4]>
  func.func @main(%x: tensor<8xf32> {atoll.path = "x", atoll.batch}) -> (tensor<8xf32> {atoll.path = "y"}) {
    %0 = sdy.manual_computation(%x) in_shardings=[<@mesh, [{"data"}]>] out_shardings=[<@mesh, [{"data"}]>]
        manual_axes={"data"} (%own: tensor<2xf32>) {
      // expected-error @below {{devices along data count the examples, and share those of each microbatch; give islands one device along data, or set microbatches=1}}
      %places = stablehlo.iota dim = 0 : tensor<2xf32>
      %sum = stablehlo.add %own, %places : tensor<2xf32>
      sdy.return %sum : tensor<2xf32>
    } : (tensor<8xf32>) -> tensor<8xf32>
    return %0 : tensor<8xf32>
  }
}

// -----

module attributes {atoll.plan = "replicas=2", atoll.topology = "2 x cpu[1]"} {
  sdy.mesh @mesh = <["data"=2]>
  func.func @main(%x: tensor<4xf32> {atoll.path = "x", atoll.batch}) -> (tensor<2xf32> {atoll.path = "y"}) {
    // expected-error @below {{manual_computation gives each device along data a result of its own, as if it were the same for all; sum it over data, or say in out_specs that it is divided over data}}
    %0 = sdy.manual_computation(%x) in_shardings=[<@mesh, [{"data"}]>] out_shardings=[<@mesh, [{}]>]
        manual_axes={"data"} (%own: tensor<2xf32>) {
      sdy.return %own : tensor<2xf32>
    } : (tensor<4xf32>) -> tensor<2xf32>
    return %0 : tensor<2xf32>
  }
}

// -----

module attributes {atoll.plan = "replicas=2", atoll.topology = "2 x cpu[1]"} {
  sdy.mesh @mesh = <["data"=2]>
  func.func @main(%x: tensor<4xf32> {atoll.path = "x", atoll.batch}) -> (tensor<4xf32> {atoll.path = "y"}) {
    // expected-error @below {{manual_computation gives a result that is divided over data, and does not consist of examples; give it once, by out_specs without data, or set microbatches=1}}
    %0 = sdy.manual_computation(%x) in_shardings=[<@mesh, [{"data"}]>] out_shardings=[<@mesh, [{"data"}]>]
        manual_axes={"data"} (%own: tensor<2xf32>) {
      %sum = "stablehlo.all_reduce"(%own) <{replica_groups = dense<[[0, 1]]> : tensor<1x2xi64>}> ({
      ^bb0(%a: tensor<f32>, %b: tensor<f32>):
        %both = stablehlo.add %a, %b : tensor<f32>
        stablehlo.return %both : tensor<f32>
      }) : (tensor<2xf32>) -> tensor<2xf32>
      sdy.return %sum : tensor<2xf32>
    } : (tensor<4xf32>) -> tensor<4xf32>
    return %0 : tensor<4xf32>
  }
}

// -----

// What a gradient needs of the way forward is given to the way back alone, device by device.

module attributes {atoll.plan = "replicas=2, microbatches=2", atoll.topology = "2 x cpu[model=2]"} {
  sdy.mesh @mesh = <["data"=2, "model"=2]>
  func.func @main(%x: tensor<8xf32> {atoll.path = "x", atoll.batch}) -> (tensor<16xf32> {atoll.path = "y"}) {
    %0 = sdy.manual_computation(%x) in_shardings=[<@mesh, [{"data"}]>] out_shardings=[<@mesh, [{"data", "model"}]>]
        manual_axes={"data", "model"} (%own: tensor<4xf32>) {
      sdy.return %own : tensor<4xf32>
    } : (tensor<8xf32>) -> tensor<16xf32>
    // expected-error @below {{tanh has what devices of a shard_map have side by side, other rows of the whole in each microbatch; use it only in a shard_map that divides it in the same way, or set microbatches=1}}
    %1 = stablehlo.tanh %0 : tensor<16xf32>
    return %1 : tensor<16xf32>
  }
}

// -----

module attributes {atoll.plan = "replicas=2, microbatches=2", atoll.topology = "2 x cpu[model=2]"} {
  sdy.mesh @mesh = <["data"=2, "model"=2]>
  func.func @main(%x: tensor<8xf32> {atoll.path = "x", atoll.batch}) -> (tensor<16xf32> {atoll.path = "y"}) {
    // expected-error @below {{manual_computation has what devices of a shard_map have side by side}}
    %0 = sdy.manual_computation(%x) in_shardings=[<@mesh, [{"data"}]>] out_shardings=[<@mesh, [{"data", "model"}]>]
        manual_axes={"data", "model"} (%own: tensor<4xf32>) {
      sdy.return %own : tensor<4xf32>
    } : (tensor<8xf32>) -> tensor<16xf32>
    return %0 : tensor<16xf32>
  }
}

// -----

module attributes {atoll.plan = "replicas=2, microbatches=2", atoll.topology = "2 x cpu[model=2]"} {
  sdy.mesh @mesh = <["data"=2, "model"=2]>
  sdy.mesh @mesh_0 = <["rows"=2]>
  func.func @main(%x: tensor<8xf32> {atoll.path = "x", atoll.batch}) -> (tensor<16xf32> {atoll.path = "y"}) {
    %0 = sdy.manual_computation(%x) in_shardings=[<@mesh, [{"data"}]>] out_shardings=[<@mesh, [{"data", "model"}]>]
        manual_axes={"data", "model"} (%own: tensor<4xf32>) {
      sdy.return %own : tensor<4xf32>
    } : (tensor<8xf32>) -> tensor<16xf32>
    // expected-error @below {{manual_computation takes what devices of another mesh have side by side}}
    %1 = sdy.manual_computation(%0) in_shardings=[<@mesh_0, [{"rows"}]>] out_shardings=[<@mesh_0, [{"rows"}]>]
        manual_axes={"rows"} (%own: tensor<8xf32>) {
      sdy.return %own : tensor<8xf32>
    } : (tensor<16xf32>) -> tensor<16xf32>
    return %1 : tensor<16xf32>
  }
}
