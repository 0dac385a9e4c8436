"""Names the command line offers before it imports the tables they stand in; a test holds the two together."""

SPACES = ("paper", "nano", "tiny")
SAMPLERS = ("front", "gp", "tpe", "nsga2", "random", "grid")
RECIPES = ("modern", "quick", "paper")
KNOWN_DATASETS = ("voc", "coco")
