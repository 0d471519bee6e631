"""Reports of an experiment, from MLflow alone: the HTML page, and the leaderboard for the terminal."""
