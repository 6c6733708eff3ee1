"""The measured bars: each is a ratio of two figures taken in one run, in CPU time, never a test that depends on a clock."""
