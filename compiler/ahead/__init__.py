"""Programs for TPUs that are not here: compiled by their compiler, and measured by what it says."""
