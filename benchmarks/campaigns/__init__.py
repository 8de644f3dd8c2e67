"""Does anything corrupt or lose a result, tried many times? Kills, damaged files, attacks on their budgets."""
