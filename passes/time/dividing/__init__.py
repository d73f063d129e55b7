"""How `resolve-plan` divides the batch where the plan leaves that open."""
