"""Many runs: jobs, search, ranking."""
