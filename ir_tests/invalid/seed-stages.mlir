// RUN: atoll-opt %s --passes "seed-stages" --verify-diagnostics --split-input-file

// Stages that cannot be what the plan's text says they are.

// expected-error @below {{the module has no topology; give one: --topology "2 x cpu[4]"}}
module {
  func.func @main() {
    return
  }
}

// -----

// expected-error @below {{the module has no topology}}
module attributes {atoll.plan = "placement={\"a\": \"island0\"}"} {
  func.func @main() {
    return
  }
}

// -----

// Replicas are alike, and have islands enough.
module attributes {atoll.plan = "replicas=2", atoll.topology = "3 x cpu[1]"} {
  // expected-error @unknown {{the plan asks for 2 replicas, and 3 islands cannot be divided into so many}}
  func.func @main() {
    return
  }
}

// -----

module attributes {atoll.plan = "replicas=2", atoll.topology = "island a : cpu[1]\nisland b : cpu[2]"} {
  // expected-error @unknown {{b of replica 1 is cpu[2], and a of replica 0 is cpu[1]; islands count replica by replica}}
  func.func @main() {
    return
  }
}

// -----

module attributes {atoll.plan = "stages=\"embed | nowhere\"", atoll.topology = "2 x cpu[1]"} {
  // expected-error @unknown {{pattern nowhere of stage 1 matches no scope and no parameter}}
  func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
    %0 = stablehlo.negate %x : tensor<4xf32> loc("jit(step)/embed/neg")
    return %0 : tensor<4xf32>
  }
}

// -----

// Stages follow each other; a placement, which is no pipeline, may go back and forth.
module attributes {atoll.plan = "stages=\"first | second\"", atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
    %0 = stablehlo.negate %x : tensor<4xf32> loc("jit(step)/second/neg")
    // expected-error @unknown {{stage 0 (first) needs what stage 1 (second) computes; order the stages as the model runs them}}
    %1 = stablehlo.cosine %0 : tensor<4xf32> loc("jit(step)/first/cos")
    return %1 : tensor<4xf32>
  }
}

// -----

// Iterations of a loop are named like scopes below that of the loop.
module attributes {atoll.plan = "stages=\"layers[0..1] | layers[2..2]\"", atoll.topology = "2 x cpu[1]"} {
  func.func @main(%w: tensor<3x8xf32>, %x: tensor<8xf32>, %n: tensor<i32>) -> tensor<8xf32> {
    %zero = stablehlo.constant dense<0> : tensor<i32>
    // expected-error @unknown {{the loop in scope layers cannot be cut into layers: its length depends on data; name layers whole}}
    %0:3 = stablehlo.while(%a = %w, %i = %zero, %h = %x) : tensor<3x8xf32>, tensor<i32>, tensor<8xf32>
    cond {
      %more = stablehlo.compare LT, %i, %n, SIGNED : (tensor<i32>, tensor<i32>) -> tensor<i1>
      stablehlo.return %more : tensor<i1>
    } do {
      %c = stablehlo.constant dense<0> : tensor<i32>
      %row = stablehlo.dynamic_slice %a, %i, %c, sizes = [1, 8]
          : (tensor<3x8xf32>, tensor<i32>, tensor<i32>) -> tensor<1x8xf32>
      %r = stablehlo.reshape %row : (tensor<1x8xf32>) -> tensor<8xf32>
      %next = stablehlo.add %h, %r : tensor<8xf32>
      %one = stablehlo.constant dense<1> : tensor<i32>
      %j = stablehlo.add %i, %one : tensor<i32>
      stablehlo.return %a, %j, %next : tensor<3x8xf32>, tensor<i32>, tensor<8xf32>
    } loc("jit(step)/layers/while")
    return %0#2 : tensor<8xf32>
  }
}

// -----

module attributes {atoll.plan = "stages=\"layers[0..0] | layers[1..1]\"", atoll.topology = "2 x cpu[1]"} {
  func.func @main(%w: tensor<3x8xf32>, %x: tensor<8xf32>, %n: tensor<i32>) -> tensor<8xf32> {
    %zero = stablehlo.constant dense<0> : tensor<i32>
    // expected-error @unknown {{iteration 2 of the 3 in scope layers has no stage; name a stage for every iteration}}
    %0:3 = stablehlo.while(%a = %w, %i = %zero, %h = %x) : tensor<3x8xf32>, tensor<i32>, tensor<8xf32>
    cond {
      %three = stablehlo.constant dense<3> : tensor<i32>
      %more = stablehlo.compare LT, %i, %three, SIGNED : (tensor<i32>, tensor<i32>) -> tensor<i1>
      stablehlo.return %more : tensor<i1>
    } do {
      %c = stablehlo.constant dense<0> : tensor<i32>
      %row = stablehlo.dynamic_slice %a, %i, %c, sizes = [1, 8]
          : (tensor<3x8xf32>, tensor<i32>, tensor<i32>) -> tensor<1x8xf32>
      %r = stablehlo.reshape %row : (tensor<1x8xf32>) -> tensor<8xf32>
      %next = stablehlo.add %h, %r : tensor<8xf32>
      %one = stablehlo.constant dense<1> : tensor<i32>
      %j = stablehlo.add %i, %one : tensor<i32>
      stablehlo.return %a, %j, %next : tensor<3x8xf32>, tensor<i32>, tensor<8xf32>
    } loc("jit(step)/layers/while")
    return %0#2 : tensor<8xf32>
  }
}

// -----

module attributes {atoll.plan = "stages=\"layers[2..2] | layers[0..1]\"", atoll.topology = "2 x cpu[1]"} {
  func.func @main(%w: tensor<3x8xf32>, %x: tensor<8xf32>, %n: tensor<i32>) -> tensor<8xf32> {
    %zero = stablehlo.constant dense<0> : tensor<i32>
    // expected-error @unknown {{the loop in scope layers comes to the iterations of stage 1 before those of another}}
    %0:3 = stablehlo.while(%a = %w, %i = %zero, %h = %x) : tensor<3x8xf32>, tensor<i32>, tensor<8xf32>
    cond {
      %three = stablehlo.constant dense<3> : tensor<i32>
      %more = stablehlo.compare LT, %i, %three, SIGNED : (tensor<i32>, tensor<i32>) -> tensor<i1>
      stablehlo.return %more : tensor<i1>
    } do {
      %c = stablehlo.constant dense<0> : tensor<i32>
      %row = stablehlo.dynamic_slice %a, %i, %c, sizes = [1, 8]
          : (tensor<3x8xf32>, tensor<i32>, tensor<i32>) -> tensor<1x8xf32>
      %r = stablehlo.reshape %row : (tensor<1x8xf32>) -> tensor<8xf32>
      %next = stablehlo.add %h, %r : tensor<8xf32>
      %one = stablehlo.constant dense<1> : tensor<i32>
      %j = stablehlo.add %i, %one : tensor<i32>
      stablehlo.return %a, %j, %next : tensor<3x8xf32>, tensor<i32>, tensor<8xf32>
    } loc("jit(step)/layers/while")
    return %0#2 : tensor<8xf32>
  }
}

// -----

// Patterns that overlap.
module attributes {atoll.plan = "stages=\"a | b\"", atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
    // expected-error @unknown {{a/b is claimed by stage 0 (a) and stage 1 (b); write patterns that do not overlap}}
    %0 = stablehlo.negate %x : tensor<4xf32> loc("jit(step)/a/b/neg")
    return %0 : tensor<4xf32>
  }
}

// -----

module attributes {atoll.plan = "placement={\"a\": \"moon\"}", atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
    // expected-error @unknown {{placement puts a on island moon, which the topology does not have; its islands are island0, island1}}
    %0 = stablehlo.negate %x : tensor<4xf32> loc("jit(step)/a/neg")
    return %0 : tensor<4xf32>
  }
}
