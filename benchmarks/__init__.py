"""The measured bars: each a ratio of two figures of one run, in CPU time; never a test that depends on a clock."""
