"""Reports of an experiment, from MLflow alone: the HTML page and the leaderboard of the terminal."""
