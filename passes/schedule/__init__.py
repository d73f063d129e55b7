"""From fragments to tasks: fragments are outlined and shared, and tasks ordered. Leads to phase `scheduled`."""
