"""Four cheap jobs: totals of the bars, scores of the totals, their publication, and online against offline.

Each value is a number from a hash of the rows that it rests on, so whatever is missing, doubled or mixed is seen.
"""
