"""Patterns against scopes and parameter paths."""

import pytest
from atoll.compiler.errors import PlanError
from atoll.compiler.plan.plan import Plan
from atoll.compiler.plan.resolved_plan import resolved
from atoll.compiler.plan.scope_patterns import ScopePatterns, path_components
from atoll.compiler.topology.topology import Topology

pytestmark = pytest.mark.own


def patterns(text):
    return ScopePatterns.of(resolved(Plan(stages=text), None), None)


@pytest.mark.parametrize(
    ("path", "components"),
    [
        ("x", ("x",)),
        ("state['params']['w']", ("state", "params", "w")),
        ("state.params.layers[10]", ("state", "params", "layers", "10")),
        ("args[0]['layer_1']", ("args", "0", "layer_1")),
        ("result", ("result",)),
        ("", ()),
        ("p['a.b']", ("p", "a.b")),
    ],
)
def test_the_components_of_a_path(path, components):
    assert path_components(path) == components


@pytest.mark.parametrize(
    ("text", "path", "stage"),
    [
        ("a | b", "a", 0),
        ("a | b", "model/b/dense", 1),
        ("a | b", "ab", None),
        ("a/b | c", "x/a/b/y", 0),
        ("a/b | c", "a/x/b", None),
        ("layer_[0..9] | layer_[10..19]", "layer_9", 0),
        ("layer_[0..9] | layer_[10..19]", "M/layer_10/mlp", 1),
        ("layer_[0..9] | layer_[10..19]", "layer_20", None),
        ("layer_[0..9] | head", "layer_", None),
        ("layer_[0..9] | head", "layer_1x", None),
        ("layers[0..1] | layers[2..3]", "params/layers/2/kernel", 1),
        ("layers[0..1] | layers[2..3]", "layers", None),
        ("layers[0..1]/mlp | head", "layers/1/mlp", 0),
        ("layers[0..1]/mlp | head", "layers1/mlp", 0),
        ("h/[0..1] | h/[2..11]", "transformer/h/11/attn", 1),
        ("h/[0..1]/attn | head", "h/1/attn", 0),
        ("h/[0..1] | head", "h1", None),
        ("h/[0..1] | head", "h/2", None),
        ("h/[0..1] | head", "h/x/1", None),
        ("a, b | c", "b", 0),
        ("a | b", "", None),
    ],
)
def test_the_stage_of_a_path(text, path, stage):
    assert patterns(text).stage_of(tuple(filter(None, path.split("/")))) == stage


def test_two_patterns_of_one_stage_may_overlap():
    assert patterns("a, a/b | c").stage_of(("a", "b")) == 0


def test_two_stages_that_claim_one_scope():
    with pytest.raises(PlanError, match=r"^train.py:3: a/b is claimed by stage 0 \(a\) and stage 1 \(b\); write patt"):
        patterns("a | b").stage_of(("a", "b"), "train.py:3")


def test_a_pattern_that_matches_nothing_lists_the_scopes():
    found = patterns("a | b")
    found.stage_of(("a",))
    message = r"^\S+: pattern b of stage 1 matches no scope and no parameter; the program's scopes are a, c\n"
    with pytest.raises(PlanError, match=message):
        found.check_all_matched(["a", "c"], ["x"])


def test_without_scopes_the_parameters_are_listed():
    with pytest.raises(PlanError, match=r"its parameters are x\['w'\], y\n"):
        patterns("a").check_all_matched([], ["x['w']", "y"])


def test_long_lists_say_that_they_go_on():
    with pytest.raises(PlanError, match=r"s0, .*, s39, \.\.\.\n"):
        patterns("a").check_all_matched([f"s{number}" for number in range(99)], [])


@pytest.mark.parametrize("stages", [3, "auto"])
def test_a_number_of_stages_has_no_patterns(stages):
    assert ScopePatterns.of(resolved(Plan(stages=stages), None), None) is None


def test_a_placement_names_islands():
    topology = Topology.parse("island left : cpu[1]; island right : cpu[1]")
    found = ScopePatterns.of(resolved(Plan(placement={"a": "right", "b/c": "right"}), 2), topology)
    assert found.stage_of(("a",)) == found.stage_of(("b", "c")) == 1
    with pytest.raises(
        PlanError, match=r"puts a on island middle, which .* does not have; its islands are left, right"
    ):
        ScopePatterns.of(resolved(Plan(placement={"a": "middle"}), 2), topology)
