"""What is known of latency: some candidates are measured for a proposal, the others are predicted.

How many are measured depends on how long trainings take.
"""
