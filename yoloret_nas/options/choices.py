"""Names that the command line offers without importing their tables; a test keeps the two equal."""

SPACES = ("paper", "nano", "lite", "tiny")
SAMPLERS = ("ehvi", "gp", "tpe", "nsga2", "random", "grid")
KEPT = ("front", "all")
RECIPE_EPOCHS = {"modern": 30, "quick": 6, "paper": 250}
RECIPES = tuple(RECIPE_EPOCHS)
DEFAULT_EPOCHS = f"[default: the recipe's: {', '.join(f'{name} {epochs}' for name, epochs in RECIPE_EPOCHS.items())}]"
KNOWN_DATASETS = ("voc", "coco")
SHELLS = ("bash", "zsh", "fish")
