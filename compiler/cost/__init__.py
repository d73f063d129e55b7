"""What operations, tasks and steps cost: one model for reports, predictions, searches and the planner."""
