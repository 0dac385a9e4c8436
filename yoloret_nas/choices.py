"""Names the command line offers before it imports the tables they stand in; a test holds the two together."""

SPACES = ("paper", "nano", "tiny")
SAMPLERS = ("tpe", "gp", "nsga2", "random", "front")
RECIPES = ("modern", "quick", "paper")
KNOWN_DATASETS = ("voc", "coco")
