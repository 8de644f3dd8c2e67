"""Which trained networks hold under attack, and how is that shown on one page?"""

from spikeproof.reports.intervals import Estimate
from spikeproof.reports.pages import write_report
from spikeproof.reports.rankings import Row, ranking

__all__ = ["Estimate", "Row", "ranking", "write_report"]
