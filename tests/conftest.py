"""What all tests share."""


def pytest_addoption(parser):
    parser.addoption(
        "--full", action="store_true", help="run every model of the zoo on every topology, not a pairwise cover"
    )
    parser.addoption(
        "--quick", action="store_true", help="every model of the zoo less often: for a second run, with another jax"
    )
    parser.addoption(
        "--first-seed", type=int, default=0, help="where random programs begin; others are tried by default"
    )
