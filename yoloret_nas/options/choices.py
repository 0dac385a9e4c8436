"""Names that the command line offers without importing their tables; a test keeps the two equal."""

SPACES = ("paper", "nano", "tiny")
SAMPLERS = ("ehvi", "gp", "tpe", "nsga2", "random", "grid")
OLD_SAMPLERS = ("front",)
"""Earlier names of samplers, accepted but not shown."""
RECIPES = ("modern", "quick", "paper")
KNOWN_DATASETS = ("voc", "coco")
SHELLS = ("bash", "zsh", "fish")
