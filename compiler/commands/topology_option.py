"""The islands that the command line names."""

import argparse

from atoll.compiler.errors import UsageError
from atoll.compiler.topology.topology import Topology, topology


def topology_asked(options: argparse.Namespace) -> Topology:
    """What --topology says; UsageError if it is not there."""
    if options.topology is None:
        raise UsageError("no topology is given", remedy='name the islands: --topology "2 x cpu[1]"')
    return topology(options.topology)
