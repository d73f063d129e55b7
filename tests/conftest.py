"""What all tests share."""


def pytest_addoption(parser):
    parser.addoption(
        "--full", action="store_true", help="run every model of the zoo on every topology, not a pairwise cover"
    )
