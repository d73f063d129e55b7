"""Models of graphs and of sets."""

import jax
import jax.numpy as jnp
import optax
from programs import B, Program, cross_entropy, layers, mlp, normal, real, trained, weights, whole

N, E, D = 5, 8, 6


@real
def convolution_of_padded_graphs():
    """Adjacency matrices, with self loops, divided by the roots of the degrees."""

    def loss_fn(params, adjacent, nodes, labels):
        a = adjacent + jnp.eye(N)
        degree = jnp.clip(a.sum(-1), 1)
        a = a / jnp.sqrt(degree[:, :, None] * degree[:, None, :])
        for w in params["layers"]:
            nodes = jax.nn.relu(a @ nodes @ w)
        return cross_entropy(nodes.mean(1) @ params["head"], labels)

    params = {"layers": [weights(1, D, D), weights(2, D, D)], "head": weights(3, D, 4)}
    adjacent = (normal(4, B, N, N) > 0).astype(jnp.float32)
    return trained(loss_fn, optax.sgd(0.1), params, adjacent, normal(5, B, N, D), whole(6, 4, B))


@real(double=True)
def messages_along_edges():
    """Each graph has edges of its own; sums at the nodes by segment_sum, under vmap."""

    def of_one(params, nodes, senders, receivers):
        for p in params["blocks"]:
            messages = mlp(p["edge"], jnp.concatenate([nodes[senders], nodes[receivers]], -1))
            nodes = nodes + mlp(p["node"], jax.ops.segment_sum(messages, receivers, N))
        return mlp(params["head"], nodes.sum(0))[0]

    def loss_fn(params, graphs, aims):
        return jnp.mean((jax.vmap(of_one, (None, 0, 0, 0))(params, *graphs) - aims) ** 2)

    blocks = [{"edge": layers(i, 2 * D, 8, D), "node": layers(i + 2, D, 8, D)} for i in (1, 10)]
    graphs = normal(20, B, N, D), whole(21, N, B, E), whole(22, N, B, E)
    return trained(loss_fn, optax.sgd(0.001), {"blocks": blocks, "head": layers(30, D, 8, 1)}, graphs, normal(31, B))


@real
def attention_over_neighbours_that_are_the_same_for_all():
    """A road network: the edges are leaves without a batch beside those that have one."""

    def step(params, batch):
        def loss_fn(params):
            h = batch["nodes"] @ params["w"]
            senders, receivers = batch["edges"]
            score = jnp.exp(jnp.tanh(h[:, senders] @ params["a"] + h[:, receivers] @ params["b"]))
            total = jnp.zeros((h.shape[0], N)).at[:, receivers].add(score)
            share = score / total[:, receivers]
            out = jnp.zeros_like(h).at[:, receivers].add(share[..., None] * h[:, senders])
            return jnp.mean((out @ params["out"] - batch["speed"]) ** 2)

        loss, grads = jax.value_and_grad(loss_fn)(params)
        return jax.tree.map(lambda p, g: p - 0.1 * g, params, grads), loss

    params = {"w": weights(1, D, D), "a": normal(2, D), "b": normal(3, D), "out": normal(4, D)}
    batch = {"nodes": normal(5, B, N, D), "edges": (whole(6, N, E), whole(7, N, E)), "speed": normal(8, B, N)}
    return Program(step, (params, batch), axes=(None, {"nodes": 0, "edges": None, "speed": 0}))


@real
def graphs_joined_to_one():
    """jraph: the nodes of all graphs in one array, with edges that may join any two of them."""

    def step(params, nodes, senders, receivers):
        def loss_fn(params):
            messages = nodes[senders] @ params["edge"]
            return jnp.mean(jax.ops.segment_sum(messages, receivers, B) ** 2)

        loss, grads = jax.value_and_grad(loss_fn)(params)
        return jax.tree.map(lambda p, g: p - 0.1 * g, params, grads), loss

    return Program(step, ({"edge": weights(1, D, D)}, normal(2, B, D), whole(3, B, B), whole(4, B, B)), batch=(1, 2, 3))


@real
def sets_of_different_sizes():
    """Deep sets: a sum and a maximum over those that are there."""

    def loss_fn(params, items, sizes, aims):
        is_there = jnp.arange(N) < sizes[:, None]
        h = mlp(params["each"], items)
        total = jnp.sum(jnp.where(is_there[..., None], h, 0), 1)
        most = jnp.max(jnp.where(is_there[..., None], h, -jnp.inf), 1)
        return optax.huber_loss(mlp(params["all"], jnp.concatenate([total, most], -1))[:, 0], aims).mean()

    params = {"each": layers(1, D, 8, 8), "all": layers(4, 16, 8, 1)}
    return trained(loss_fn, optax.sgd(0.01), params, normal(7, B, N, D), 1 + whole(8, N, B), normal(9, B))


@real(double=True)
def points_whatever_way_they_are_turned():
    """EGNN: distances go into the messages, and differences of places are weighed by them."""

    def loss_fn(params, places, aims):
        h = jnp.zeros((*places.shape[:2], 4))
        for p in params:
            apart = places[:, :, None] - places[:, None, :]
            far = jnp.sum(apart**2, -1, keepdims=True)
            pair = jnp.concatenate([far, h[:, :, None] + h[:, None, :]], -1)
            message = jnp.tanh(pair @ p["edge"])
            places = places + jnp.mean(apart * (message @ p["move"]), 2)
            h = h + message.sum(2) @ p["node"]
        return jnp.mean((places - aims) ** 2)

    params = [{"edge": weights(i, 5, 8), "move": normal(i + 1, 8, 1), "node": weights(i + 2, 8, 4)} for i in (1, 5)]
    return trained(loss_fn, optax.sgd(0.01), params, normal(10, B, N, 3), normal(11, B, N, 3))


@real
def attention_along_edges_with_padding():
    """GAT as jraph has it: a softmax over the edges into each node, and a node that padding leads to."""

    def messages(p, nodes, senders, receivers):
        h = nodes @ p["w"]
        scores = jax.nn.leaky_relu(h[senders] @ p["from"] + h[receivers] @ p["to"])
        most = jax.ops.segment_max(scores, receivers, N + 1)
        share = jnp.exp(scores - most[receivers])
        share = share / (jax.ops.segment_sum(share, receivers, N + 1)[receivers] + 1e-9)
        return jax.nn.elu(jax.ops.segment_sum(share[:, None] * h[senders], receivers, N + 1))

    def loss_fn(params, nodes, edges, sizes, aims):
        def one(nodes, senders, receivers, size):
            h = jnp.pad(nodes, ((0, 1), (0, 0)))
            ends = [jnp.where(jnp.arange(E) < size, end, N) for end in (senders, receivers)]
            for p in params["layers"]:
                h = messages(p, h, *ends)
            return h[:N].mean(0) @ params["out"]

        return jnp.mean((jax.vmap(one)(nodes, *edges, sizes) - aims) ** 2)

    attending = [{"w": weights(i, D, D), "from": normal(i + 1, D), "to": normal(i + 2, D)} for i in (10, 20)]
    edges, sizes = (whole(6, N, B, E), whole(7, N, B, E)), 2 + whole(8, E - 2, B)
    params = {"layers": attending, "out": normal(3, D)}
    return trained(loss_fn, optax.adamax(1e-2), params, normal(5, B, N, D), edges, sizes, normal(9, B))
