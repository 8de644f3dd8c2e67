"""Who holds best, protocol by protocol, of the networks that many people have sent in? Pages without a server."""

from spikeproof.reports.leaderboard.sites import write_leaderboard

__all__ = ["write_leaderboard"]
