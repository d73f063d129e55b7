"""Random programs, those of the time passes' own test, through the whole compiler and on islands."""

import jax
import jax.numpy as jnp
import zoo
from atoll.compiler.errors import CompileError, PlanError
from jax import lax
from microbatched import compiled_by_xla, double_precision, evaluated  # noqa: F401 (fixtures)
from random_programs import random_program
from references import reference
from timed_harness import difference

import atoll

COUNT = 20
FIRST = 70_000  # other programs than those that the time passes are tried with
MAGNITUDE = 100.0  # of the values that a smooth program's results are made of, where these may cancel
SCHEDULES = ("gpipe", "1f1b", "interleaved-1f1b(2)", "zb-v", "forward-only")


def test_refused_or_right(request, capsys):
    """As many as are accepted of so many; the seed of each that is wrong is printed."""
    count, right, wrong = counted(request.config), [], []
    seed = FIRST
    while len(right) + len(wrong) < count:
        told = outcome(seed)
        if told is not None:
            (wrong if told else right).append(told or seed)
        seed += 1
        assert seed < FIRST + 5 * count
    with capsys.disabled():
        print(f" [seeds {FIRST} to {seed - 1}: {len(right) + len(wrong)} accepted]", end="")
    assert not wrong, f"{len(wrong)} WRONG ANSWERS, the first:\n{min(wrong, key=len)}"


def counted(config):
    return COUNT * 25 if config.getoption("full") else COUNT // 2 if config.getoption("quick") else COUNT


def outcome(seed):
    """None if a seed's program is refused; else what is wrong with its answers, which should be nothing."""
    made = random_program(seed)
    kind, islands = SCHEDULES[seed % len(SCHEDULES)], 1 + seed % 3
    replicas = 2 if made.microbatches % 2 == 0 and seed % 4 < 2 else 1
    segments = 1 + seed % 7 % 3
    where = f"{kind} on {replicas} x {islands} islands, in {segments} segments"
    text = f"# seed {seed}: {made.microbatches} microbatches of {made.batch}, {where}\n{made.text}"
    names = {"jax": jax, "jnp": jnp, "lax": lax}
    exec(compile(made.text, f"program_{seed}.py", "exec"), names)
    plan = atoll.Plan(microbatches=made.microbatches // replicas, schedule=kind, replicas=replicas, segments=segments)
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
        return None
    with step:
        found = list(zoo.leaves(step(*made.arguments)))
    expected = list(zoo.leaves(reference(names["program"], *made.arguments)))
    told = [difference(one, other, None, MAGNITUDE * made.smooth) for one, other in zip(expected, found, strict=True)]
    return "\n".join([*filter(None, told), text]) if any(told) else ""
