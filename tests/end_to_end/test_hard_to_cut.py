"""Programs that the automatic cut divides inside of blocks, or with two ways over a model side by side, on islands."""

import pytest
import zoo
from cut_models import MODELS
from microbatched import compiled_by_xla, error_of, evaluated  # noqa: F401 (fixtures)
from references import reference

import atoll


@pytest.mark.one_in(2)
@pytest.mark.parametrize(
    ("name", "topology", "plan"),
    [
        ("u_net", "4 x cpu[1]", atoll.Plan(microbatches=2, schedule="1f1b")),
        ("preferences", "4 x cpu[1]", atoll.Plan(replicas=2, microbatches=2, schedule="zb-h1")),
        ("sharpness_aware", "4 x cpu[1]", atoll.Plan(replicas=2, microbatches=2, schedule="1f1b")),
    ],
)
def test_same_answer_as_jit(name, topology, plan):
    model = MODELS[name]()
    expected = reference(model.step, *model.args)
    with atoll.compile(model.job, topology=topology, plan=plan) as step:
        assert error_of(zoo.leaves(step(*model.args)), zoo.leaves(expected)) < 1e-5
        assert all(island.cost for island in step.report().islands)
