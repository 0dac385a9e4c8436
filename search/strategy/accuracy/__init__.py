"""What is known of AP: a Gaussian process over the trained networks, what earlier studies expect, how a curve will end.

Scores are noisy and trainings are few, so everything here is an estimate with its uncertainty.
"""
