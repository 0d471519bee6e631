"""Jobs on Ray Tune: what one is, how long it takes, what it tells, and what happens when its worker dies or hangs."""
