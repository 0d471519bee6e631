"""The work itself, in whatever process: IRP runs, fits, trials, cells. No Ray here."""
