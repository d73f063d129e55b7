"""What each operation is for, found from the dataflow alone."""
