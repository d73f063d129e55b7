"""From one function to stages: every operation gets a stage and a sweep. Leads to phase `staged`."""
