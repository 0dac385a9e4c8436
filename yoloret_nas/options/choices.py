"""Names that the command line offers without importing their tables; a test keeps the two equal."""

SPACES = ("paper", "nano", "tiny")
SAMPLERS = ("front", "gp", "tpe", "nsga2", "random", "grid")
RECIPES = ("modern", "quick", "paper")
KNOWN_DATASETS = ("voc", "coco")
