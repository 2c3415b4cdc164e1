"""Files from strangers are decoded in processes that can be ended: at a deadline, or when nobody waits any more."""
