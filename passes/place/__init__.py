"""From stages to islands: fragments of computation, and transfers between them. Leads to phase `placed`."""
