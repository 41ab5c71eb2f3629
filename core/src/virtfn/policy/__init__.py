"""Documents in, desired state out: reading, selecting, merging. Pure: it touches neither files nor the machine."""
