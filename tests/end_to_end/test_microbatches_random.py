"""Random programs, those of the time passes' own tests, through the whole compiler and on islands."""

import chosen
import jax
import jax.numpy as jnp
import pytest
import zoo
from atoll.compiler.errors import AtollError, CompileError, PlanError
from jax import lax
from microbatched import compiled_by_xla, double_precision, evaluated  # noqa: F401 (fixtures)
from random_programs import random_program
from random_sequences import random_sequence
from references import reference
from refusal_counts import reasons
from timed_harness import difference

import atoll

pytestmark = pytest.mark.timeout(3 * 3600)  # for `--full`

COUNTS = {random_program: 10, random_sequence: 4}
FIRST = 70_000  # behind the first seed: other programs than those that the time passes are tried with
MAGNITUDE = 100.0  # of the values that a smooth program's results are made of, where these may cancel
SCHEDULES = ("gpipe", "1f1b", "interleaved-1f1b(2)", "zb-v", "forward-only")
EXTRA = (50, 1000, "50%, 1 kB")  # for steps that go over the batch several times


@pytest.mark.parametrize("random_of", COUNTS, ids=lambda one: one.__name__)
def test_refused_or_right(random_of, request, capsys):
    """As many as are accepted of so many; those that are refused are counted by reason."""
    count, right, wrong, refused = counted(request.config, COUNTS[random_of]), [], [], []
    begin = request.config.getoption("--first-seed") or count * chosen.turn(chosen.day())
    first = seed = FIRST + begin
    while len(right) + len(wrong) < count:
        told = outcome(random_of(seed))
        if isinstance(told, AtollError):
            refused.append(told)
        else:
            (wrong if told else right).append(told or seed)
        seed += 1
        assert seed < first + 5 * count
    with capsys.disabled():
        print(f" [seeds {first} to {seed - 1}: {len(right) + len(wrong)} accepted]{reasons(refused)}")
    assert not wrong, f"{len(wrong)} WRONG ANSWERS, the first:\n{min(wrong, key=len)}"


def counted(config, usual):
    return usual * 50 if config.getoption("full") else usual


def outcome(made):
    """Why a program is refused, or what is wrong with its answers, which should be nothing."""
    seed = made.seed
    kind, islands = SCHEDULES[seed % len(SCHEDULES)], 1 + seed % 3
    replicas = 2 if made.microbatches % 2 == 0 and seed % 4 < 2 else 1
    segments, extra = 1 + seed % 7 % 3, EXTRA[seed % 11 % 3]
    where = f"{kind} on {replicas} x {islands} islands, in {segments} segments, with extra={extra}"
    text = f"# seed {seed}: {made.microbatches} microbatches of {made.batch}, {where}\n{made.text}"
    names = {"jax": jax, "jnp": jnp, "lax": lax}
    exec(compile(made.text, f"program_{seed}.py", "exec"), names)
    microbatches = made.microbatches // replicas
    plan = atoll.Plan(microbatches=microbatches, schedule=kind, replicas=replicas, segments=segments, extra=extra)
    try:
        step = atoll.compile(
            names["program"],
            *made.arguments,
            topology=f"{islands * replicas} x cpu[1]",
            batch_argnums=made.batch_argnums,
            plan=plan,
        )
    except (CompileError, PlanError) as error:
        if "internal error" in str(error):
            return f"{error}\n{text}"
        return error
    with step:
        found = list(zoo.leaves(step(*made.arguments)))
    expected = list(zoo.leaves(reference(names["program"], *made.arguments)))
    told = [difference(one, other, None, MAGNITUDE * made.smooth) for one, other in zip(expected, found, strict=True)]
    return "\n".join([*filter(None, told), text]) if any(told) else ""
