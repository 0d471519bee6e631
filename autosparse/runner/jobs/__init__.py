"""Jobs on Ray Tune: what a job is, costs and reports, and what happens when its worker dies or hangs."""
