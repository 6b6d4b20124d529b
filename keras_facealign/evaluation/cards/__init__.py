"""Model cards: what a preset is, how well it works, and where it fails."""
