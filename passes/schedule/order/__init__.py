"""Orders of tasks, and the dataflow between tasks that they have to keep."""
