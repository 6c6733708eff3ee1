"""Learning points from outcomes: from a table of past leads to a card of integer points, and how far to trust it.

Decides which columns may be learned from, how their values are cut into bins, what each bin is worth, how likely a
total makes a lead convert, and when nothing should be proposed. Reads no file and writes none: tasks.learning does.
"""
