"""From fragments to tasks: fragments are outlined and shared. Leads to phase `scheduled`."""
